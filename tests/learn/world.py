"""What the stations beside learning are in its tests: data sets and endpoints in memory, recipes without a model."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.errors import NotFound
from charkha.core.ids import uuid7
from charkha.core.messages import Example, Message
from charkha.kit.db import Tx
from charkha.kit.lineage import Node

FAKE = {"fake": EntryPoint("fake", "tests.learn.runs.fake_recipe", "charkha.recipes")}


def example(text: str, label: str | None) -> Example:
    return Example((Message("user", text),), label or text, label)


class Frozen(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    examples: int


@dataclass
class Datasets:
    """Data sets in memory."""

    kept: dict[UUID, list[Example]] = field(default_factory=dict)
    frozen: list[Frozen] = field(default_factory=list)
    sources: list[Node] = field(default_factory=list)
    held_out: Collection[bytes] = ()

    def hold(self, examples: Sequence[Example], name: str = "held") -> UUID:
        version = Frozen(uuid7(), name, len(examples))
        self.kept[version.id] = list(examples)
        self.frozen.append(version)
        return version.id

    async def freeze(
        self,
        tx: Tx,
        *,
        name: str,
        examples: Sequence[Example],
        report: dict[str, Any],
        sources: Iterable[Node] = (),
        held_out: Collection[bytes] = (),
    ) -> Frozen:
        self.sources, self.held_out = list(sources), held_out
        kept = [each for each in examples if each.question().encode() not in held_out]
        return await self.version(tx, self.hold(kept, name))

    async def version(self, tx: Tx, version_id: UUID) -> Frozen:
        for version in self.frozen:
            if version.id == version_id:
                return version
        raise NotFound("There is no such data set version.")

    async def examples(self, tx: Tx, version_id: UUID) -> list[Example]:
        return self.kept[(await self.version(tx, version_id)).id]


class Base(msgspec.Struct, frozen=True):
    name: str
    engine: str = "local"
    model: str = "tiny"
    labels: Sequence[str] | None = None
    system_prompt: str | None = None


@dataclass
class Endpoints:
    """Endpoints in memory."""

    known: dict[UUID, Base] = field(default_factory=dict)

    def add(self, base: Base) -> UUID:
        endpoint_id = uuid7()
        self.known[endpoint_id] = base
        return endpoint_id

    async def training_base(self, tx: Tx, endpoint_id: UUID) -> Base:
        if endpoint_id not in self.known:
            raise NotFound("There is no such endpoint.")
        return self.known[endpoint_id]


@dataclass
class Models:
    """One model file."""

    path: Path

    def gguf(self, model: str) -> Path:
        if model != "tiny":
            raise NotFound(f"There is no model '{model}' here.", remedy="Choose another.")
        return self.path
