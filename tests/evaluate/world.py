"""What the stations beside evaluation are in its tests: the real data sets, versions in memory, a gateway that knows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.errors import NotFound, Unavailable
from charkha.core.ids import uuid7
from charkha.core.messages import Example, Message
from charkha.data.service import DatasetService
from charkha.evaluate.jobs import Evaluator
from charkha.evaluate.service import EvaluationService, SuiteService
from charkha.evaluate.store import Evaluation, Suite
from charkha.kit.blobs import Blobs
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database, Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs


class Version(msgspec.Struct, frozen=True):
    id: UUID
    kind: str
    base_model: str
    safetensors_blob: str | None
    config_blob: str | None
    callable_name: str | None
    system_prompt: str | None = None


@dataclass
class Registry:
    """Versions, endpoints, incumbents and model files in memory."""

    path: Path
    versions: dict[UUID, Version] = field(default_factory=dict)
    endpoints: set[UUID] = field(default_factory=set)
    incumbents: dict[UUID, UUID] = field(default_factory=dict)

    async def get(self, tx: Tx, version_id: UUID) -> Version:
        if version_id not in self.versions:
            raise NotFound("There is no such version.")
        return self.versions[version_id]

    async def resolve(self, tx: Tx, name_or_id: str) -> UUID:
        if UUID(name_or_id) not in self.endpoints:
            raise NotFound("There is no such endpoint.")
        return UUID(name_or_id)

    async def of(self, tx: Tx, endpoint_id: UUID) -> UUID | None:
        await self.resolve(tx, str(endpoint_id))
        return self.incumbents.get(endpoint_id)

    def gguf(self, model: str) -> Path:
        if model != "tiny":
            raise NotFound("That model is served elsewhere.")
        return self.path

    def add(self, **values: Any) -> Version:
        version_id = uuid7()
        empty = {"kind": "base", "base_model": "tiny", "safetensors_blob": None, "config_blob": None}
        made = Version(**{"id": version_id, "callable_name": str(version_id), **empty, **values})
        self.versions[version_id] = made
        return made


@dataclass
class Gateway:
    """Answers by a rule; is away as often as told."""

    rule: Callable[[str, str], str] = lambda model, text: text.split()[0]
    away: int = 0
    asked: list[tuple[UUID, str, str, int]] = field(default_factory=list)

    async def ask(self, workspace_id: UUID, model: str, messages: Sequence[Message], max_tokens: int) -> str:
        if self.away:
            self.away -= 1
            raise Unavailable("The engine is restarting.")
        self.asked.append((workspace_id, model, messages[-1].content, max_tokens))
        return self.rule(model, messages[-1].content)


def example(text: str, label: str | None, answer: str = "") -> Example:
    return Example((Message("user", text),), label or answer, label)


@dataclass
class World:
    database: Database
    workspace_id: UUID
    home: Path
    blobs: Blobs
    datasets: DatasetService
    registry: Registry
    gateway: Gateway
    suites: SuiteService
    evaluations: EvaluationService
    evaluator: Evaluator

    async def suite(self, examples: Sequence[Example], name: str = "held out") -> Suite:
        endpoint_id = uuid7()
        self.registry.endpoints.add(endpoint_id)
        async with self.database.workspace(self.workspace_id, "key:test") as tx:
            version = await self.datasets.freeze(tx, name=name, examples=examples)
            return await self.suites.create(tx, name=name, endpoint_id=endpoint_id, dataset_version_id=version.id)

    async def adapter(self, told: str, **values: Any) -> Version:
        """A version whose adapter tells the fake evaluator what to do."""
        safetensors = await self.blobs.put(self.workspace_id, told.encode())
        config = await self.blobs.put(self.workspace_id, b"{}")
        return self.registry.add(kind="adapter", safetensors_blob=safetensors, config_blob=config, **values)

    async def evaluate(self, suite: Suite, candidate: Version, incumbent: Version | None = None) -> Evaluation:
        """Request an evaluation, carry it out, and read it."""
        async with self.database.workspace(self.workspace_id, "key:test") as tx:
            asked = await self.evaluations.request(
                tx,
                suite_id=suite.id,
                candidate_version_id=candidate.id,
                incumbent_version_id=incumbent.id if incumbent else None,
            )
        await self.evaluator.work(self.workspace_id, evaluation_id=str(asked.id))
        async with self.database.workspace(self.workspace_id, "test") as tx:
            return await self.evaluations.get(tx, asked.id)


def make(database: Database, jobs: Jobs, secrets: Secrets, workspace_id: UUID, home: Path) -> World:
    blobs = Blobs(f"file://{home}/blobs", secrets)
    (home / "tiny.gguf").write_bytes(b"a model")
    datasets, registry, gateway = DatasetService(blobs), Registry(home / "tiny.gguf"), Gateway()
    suites = SuiteService(datasets, registry)
    evaluator = Evaluator(
        database,
        jobs,
        EventLog(database, jobs),
        blobs,
        datasets=datasets,
        versions=registry,
        models=registry,
        answers=gateway,
        home=home,
    )
    evaluator.register()
    evaluations = EvaluationService(jobs, suites, registry, registry)
    return World(database, workspace_id, home, blobs, datasets, registry, gateway, suites, evaluations, evaluator)
