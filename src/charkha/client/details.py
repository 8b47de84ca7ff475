"""What is told of one thing on demand, as typed values: what a recipe lets choose, the files and names of a version."""

from typing import Any
from uuid import UUID

import msgspec


class Recipe(msgspec.Struct, frozen=True):
    """How can be learned. `config` is the JSON schema of its configuration; `problem` says why it cannot be used."""

    name: str
    description: str
    config: dict[str, Any]
    problem: str | None = None


class StoredFile(msgspec.Struct, frozen=True):
    """A stored file of a version. `bytes` is its size; None says that it is gone."""

    name: str
    blob: str
    sha256: str | None
    bytes: int | None


class Alias(msgspec.Struct, frozen=True):
    """A name that points at a version, and that version as `name@number`."""

    name: str
    alias: str
    version_id: UUID
    version: str
