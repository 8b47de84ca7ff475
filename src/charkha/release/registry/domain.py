"""Versions and the names that they are called by. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from charkha.core.errors import Invalid
from charkha.kit.paging import Page

LIVE: Final = "live"
"""The alias that releases move: the version that has all of its endpoint's traffic."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")
_ALIAS: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")

Kind = Literal["base", "adapter"]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it can serve: a base, or a base with an adapter. Never changed once it is registered.

    `adapters` are pairs of a GGUF file's sha256 and a weight. `artefacts` names the stored files; `detail` holds the
    run's record and metrics.
    """

    id: UUID
    name: str
    number: int
    kind: Kind
    engine: str
    base_model: str
    base_hash: str | None
    endpoint_id: UUID | None
    run_id: UUID | None
    dataset_version_id: UUID | None
    adapters: tuple[tuple[str, float], ...]
    artefacts: dict[str, Any]
    system_prompt: str | None
    detail: dict[str, Any]
    created_at: datetime

    @property
    def reference(self) -> str:
        """`name@number`: what people call it."""
        return f"{self.name}@{self.number}"


class Alias(msgspec.Struct, frozen=True):
    """A name that points at one version and can be moved."""

    name: str
    alias: str
    version_id: UUID
    version: str


class StoredFile(msgspec.Struct, frozen=True):
    """A stored file of a version: its name among the artefacts, its address, its sha256 where that is known.

    `bytes` is its size; None says that it is gone.
    """

    name: str
    blob: str
    sha256: str | None
    bytes: int | None


class Ancestor(msgspec.Struct, frozen=True):
    """Something that a version was made of."""

    kind: str
    id: str


class Lineage(msgspec.Struct, frozen=True):
    """What a version was made of: every ancestor but the leaves, how many there are of each kind, a page of inferences."""

    version_id: UUID
    ancestors: list[Ancestor]
    counts: dict[str, int]
    inferences: Page[UUID]


class AdapterState(msgspec.Struct, frozen=True):
    """An adapter version and where it is loaded: engine → "warm" or "cold".

    `bytes` is the size of its GGUF file; None says that it is gone.
    """

    version: Version
    engines: dict[str, Literal["warm", "cold"]]
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Numbered:
    """`name@3`."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Aliased:
    """`name@live`."""

    name: str
    alias: str


Reference = UUID | Numbered | Aliased


def parse(text: str) -> Reference:
    """What a person wrote, as a reference: an id, `name@number` or `name@alias`. Raises Invalid for anything else."""
    try:
        return UUID(text)
    except ValueError:
        name, at, rest = text.rpartition("@")
    if not at or not _NAME.fullmatch(name):
        raise Invalid(
            f"'{text[:80]}' names no version.", remedy="Write an id, name@number or name@alias.", param="version"
        )
    if rest.isascii() and rest.isdigit() and len(rest) <= 9:
        return Numbered(name, int(rest))
    return Aliased(name, check_alias(rest))


def check_alias(alias: str) -> str:
    """The alias itself. Raises Invalid for one that is no word or could be taken for a number."""
    if not _ALIAS.fullmatch(alias):
        raise Invalid(
            f"'{alias[:80]}' is no alias.",
            remedy="Use 1 to 64 small letters, digits, '-' and '_', a letter first.",
            param="alias",
        )
    return alias


def check_name(name: str) -> str:
    """The name itself. Raises Invalid for one that no reference could spell."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"'{name[:80]}' is no name of a version.",
            remedy="Use up to 200 letters, digits and '.', '_', ':', '/', '-', a letter or digit first.",
            param="name",
        )
    return name


def states(version: Version, warm: Mapping[str, Any], size: int | None = None) -> AdapterState:
    """Where a version stands: warm on an engine that holds all of its adapters. `warm`: engine → adapters' sha256."""
    needed = {digest for digest, _ in version.adapters}
    held = {engine: needed <= set(digests) for engine, digests in warm.items()}
    return AdapterState(version, {engine: "warm" if whole else "cold" for engine, whole in held.items()}, size)
