"""What a name of a registered version means to the hot path: the model to call and the adapters to blend on it.

The registry makes these for the snapshot, the gateway resolves requests with them; neither knows the other.
"""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class VersionTarget:
    """Where requests for a version go: `model` on `engine` with `adapters` as (sha256 of the GGUF, weight) pairs."""

    version_id: UUID
    engine: str
    model: str
    adapters: tuple[tuple[str, float], ...]
    system_prompt: str | None
