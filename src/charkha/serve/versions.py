"""What serving asks of the registry: which model and which adapters a version is.

A client names an adapter only by a version of its own workspace, never by a file or a digest; so nobody can be
answered by the adapter of another tenant whose digest they have learned.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from charkha.kit.db import Tx

FIRST_BASE = "default"
"""The reference of the installation's first base model."""


class RegisteredVersion(Protocol):
    """A version, as far as serving needs it. `adapters` are (SHA-256 of the GGUF file, weight) pairs."""

    @property
    def id(self) -> UUID: ...
    @property
    def engine(self) -> str: ...
    @property
    def base_model(self) -> str: ...
    @property
    def adapters(self) -> Sequence[tuple[str, float]]: ...
    @property
    def system_prompt(self) -> str | None: ...


class Versions(Protocol):
    """The registry, as serving sees it."""

    async def get(self, tx: Tx, reference: str | UUID) -> RegisteredVersion:
        """The version of an id, `name@number` or `name@alias` in the transaction's workspace, or a base model by its
        name, or FIRST_BASE. Raises NotFound."""
        ...
