"""What whoever spawns a recipe must know of it, free of torch: the child's environment and its exit statuses."""

from typing import Final

from charkha.kit.weights.child import FAILED
from charkha.kit.weights.environment import ENVIRONMENT

CANCELLED: Final = 75
"""Exit status of a recipe that was told to stop (SIGTERM) and left a checkpoint: starting it again goes on from there."""

__all__ = ["CANCELLED", "ENVIRONMENT", "FAILED"]
