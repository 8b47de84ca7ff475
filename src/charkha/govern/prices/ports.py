"""What prices need of others: which models a workspace can be charged for."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol
from uuid import UUID


class Use(NamedTuple):
    """One way to a model: `name` is what a client calls it, "" where it has no name of its own."""

    engine: str
    model: str
    name: str


class InUse(Protocol):
    """What a workspace's requests can reach."""

    def __call__(self, workspace_id: UUID) -> Iterable[Use]:
        """Every way to a model that there is now; a model may stand there several times."""
