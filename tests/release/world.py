"""A workspace with an endpoint, on real services and a real database; what other stations would say is set by the test."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import sqlalchemy as sa

from charkha.core.errors import CharkhaError, NotFound
from charkha.core.events import CandidateTrained, ScorecardReady
from charkha.core.ids import instant, uuid7
from charkha.govern.directory import FirstRun
from charkha.kit.blobs import Blobs
from charkha.kit.db import Database, Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.release.ports import Loadable, Outcome
from charkha.release.registry.domain import Version
from charkha.release.registry.service import RegistryService
from charkha.release.rollouts import jobs as release_jobs
from charkha.release.rollouts.conductor import Conductor
from charkha.release.rollouts.domain import Release, Rollout
from charkha.release.rollouts.service import RolloutService
from charkha.serve.domain import Endpoint, Plan
from charkha.serve.service import EndpointService
from charkha.serve.tables import plans
from charkha.serve.variants import VariantSpec

BASE_HASH = "b" * 64
GOOD, BAD = 1.0, 0.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a run left."""

    run_id: UUID
    endpoint_id: UUID | None
    endpoint_name: str
    dataset_version_id: UUID
    engine: str = "local"
    base_model: str = "tiny"
    base_hash: str = BASE_HASH
    gguf_blob: str
    gguf_sha256: str
    safetensors_blob: str
    config_blob: str
    record: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    system_prompt: str | None = None


class Runs:
    """Results by run."""

    def __init__(self) -> None:
        self.results: dict[UUID, Result] = {}

    async def result(self, tx: Tx, run_id: UUID) -> Result:
        """The result of a run."""
        return self.results[run_id]


class Card(msgspec.Struct, frozen=True):
    """A scorecard."""

    endpoint_id: UUID
    candidate_version_id: UUID
    incumbent_version_id: UUID | None
    verdict: str
    summary: str = "0.20 against 0.80 of 100."
    difference: float = 0.6


class Evaluations:
    """Scorecards by evaluation."""

    def __init__(self) -> None:
        self.cards: dict[UUID, Card] = {}

    async def scorecard(self, tx: Tx, evaluation_id: UUID) -> Any:
        """The scorecard of an evaluation."""
        return self.cards[evaluation_id]


class Outcomes:
    """Requests in memory, begun in order."""

    def __init__(self) -> None:
        self.seen: list[Outcome] = []

    def add(self, variant_id: UUID | None, score: float | None, *, times: int = 1, **changes: Any) -> None:
        """Requests to a variant that all went the same way."""
        assert variant_id is not None
        facts = {"error": False, "duration_ms": 100.0} | changes
        self.seen += [Outcome(uuid7(), variant_id, score=score, **facts) for _ in range(times)]

    async def observations(
        self, tx: Tx, endpoint_id: UUID, *, variant_ids: Sequence[UUID], since: datetime
    ) -> list[Outcome]:
        """Those of the variants since then."""
        return [each for each in self.seen if each.variant_id in variant_ids and instant(each.inference_id) >= since]


class Engines:
    """Engines that hold what they were given, unless they are told to refuse."""

    def __init__(self) -> None:
        self.held: dict[str, set[str]] = {"local": set(), "other": set()}
        self.refusal: CharkhaError | None = None

    async def ensure(self, workspace_id: UUID, version: Loadable) -> None:
        """Hold the adapters of a version."""
        if self.refusal:
            raise self.refusal
        self.held[version.engine] |= {digest for digest, _ in version.adapters}

    async def adapters(self) -> dict[str, set[str]]:
        """What is held."""
        return self.held


class World:
    """One workspace, its endpoint `support` on a registered base, and the services of the release station."""

    endpoint: Endpoint
    base: Version

    def __init__(self, database: Database, jobs: Jobs, blobs: Blobs, first: FirstRun) -> None:
        self.database, self.blobs, self.workspace_id, self.first = database, blobs, first.workspace_id, first
        self.runs, self.evaluations, self.outcomes, self.engines = Runs(), Evaluations(), Outcomes(), Engines()
        self.events = EventLog(database, jobs)
        self.registry = RegistryService(self.runs, blobs, self.events)
        self.endpoints = EndpointService(self.events, self.registry, {"local"})
        self.conductor = Conductor(self.registry, self.endpoints, self.outcomes, self.events)
        self.rollouts = RolloutService(
            self.registry, self.endpoints, self.evaluations, self.outcomes, jobs, self.events, patience=180
        )
        self.prepare = _captured(jobs, database, self.conductor, self.engines)

    def tx(self, workspace_id: UUID | None = None) -> Any:
        """A transaction in the workspace, or in another."""
        return self.database.workspace(workspace_id or self.workspace_id, "key:test")

    async def open(self) -> "World":
        """Register the base and make the endpoint on it."""
        async with self.tx() as tx:
            self.base = await self.registry.register_base(
                tx, name="tiny", engine="local", base_model="tiny", base_hash=BASE_HASH
            )
            spec = VariantSpec(version=self.base.reference, system_prompt="Be brief.")
            self.endpoint = await self.endpoints.create(tx, name="support", variant=spec)
        return self

    async def result(self, content: bytes = b"adapter", **changes: Any) -> Result:
        """A run that succeeded, with its files."""
        run_id = uuid7()
        facts = {
            "run_id": run_id,
            "endpoint_id": self.endpoint.id,
            "endpoint_name": "support",
            "dataset_version_id": uuid4(),
            "gguf_blob": await self.blobs.put(self.workspace_id, content),
            "gguf_sha256": hashlib.sha256(content).hexdigest(),
            "safetensors_blob": await self.blobs.put(self.workspace_id, content + b".safetensors"),
            "config_blob": await self.blobs.put(self.workspace_id, b"{}"),
        }
        self.runs.results[run_id] = Result(**(facts | changes))
        return self.runs.results[run_id]

    async def trained(self, content: bytes = b"adapter", **changes: Any) -> Version:
        """A candidate in the registry."""
        run_id = (await self.result(content, **changes)).run_id
        async with self.tx() as tx:
            await self.registry.register(tx, CandidateTrained(run_id=run_id, endpoint_id=self.endpoint.id))
            return (await self.registry.listed(tx, kind="adapter", limit=1)).data[0]

    async def scored(self, version: Version, verdict: str = "better", incumbent: UUID | None = None) -> Rollout:
        """A scorecard, and what was decided on it."""
        evaluation_id = uuid7()
        self.evaluations.cards[evaluation_id] = Card(
            self.endpoint.id, version.id, incumbent or (await self.live_version()), verdict
        )
        event = ScorecardReady(
            evaluation_id=evaluation_id, candidate_version_id=version.id, endpoint_id=self.endpoint.id
        )
        async with self.tx() as tx:
            await self.rollouts.decide(tx, event)
            return (await self.rollouts.listed(tx, limit=1)).data[0]

    async def running(self, content: bytes = b"adapter") -> Rollout:
        """A rollout at its first step."""
        rollout = await self.scored(await self.trained(content))
        await self.prepare(self.workspace_id, rollout_id=str(rollout.id))
        return (await self.release(rollout.id)).rollout

    async def promoted(self, content: bytes = b"adapter") -> Rollout:
        """A rollout that went all the way on evidence."""
        rollout = await self.running(content)
        while rollout.status == "running":
            rollout = await self.judged(rollout, GOOD, BAD)
        assert rollout.status == "promoted", rollout
        return rollout

    async def judged(self, rollout: Rollout, candidate: float | None, baseline: float | None) -> Rollout:
        """What becomes of a rollout when many requests of each arm are scored so."""
        for _ in range(12):
            self.outcomes.add(rollout.baseline_variant_id, baseline, times=9)
            self.outcomes.add(rollout.candidate_variant_id, candidate)
        await self.tick()
        return (await self.release(rollout.id)).rollout

    async def tick(self) -> None:
        """One round of the schedule."""
        await release_jobs.tick(self.database, self.conductor)

    async def release(self, rollout_id: UUID) -> Release:
        """A rollout with its decisions."""
        async with self.tx() as tx:
            return await self.rollouts.get(tx, rollout_id)

    async def live(self) -> Plan:
        """The live plan, which is also checked: it exists once, and its shares are 100 in all."""
        async with self.tx() as tx:
            plan = await self.endpoints.live(tx, self.endpoint.id)
            assert await tx.scalar(sa.select(sa.func.count()).where(plans.c.id == plan.id)) == 1
        assert sum(share.share for share in plan.shares) == 100
        return plan

    async def shares(self) -> dict[UUID, int]:
        """Variant → percent, live."""
        return {share.variant_id: share.share for share in (await self.live()).shares}

    async def live_version(self) -> UUID | None:
        """The version with the greatest share."""
        shares = await self.shares()
        async with self.tx() as tx:
            return (await self.endpoints.variant(tx, max(shares, key=lambda each: shares[each]))).version_id

    async def alias(self) -> str | None:
        """What `support@live` is."""
        async with self.tx() as tx:
            try:
                return (await self.registry.get(tx, "support@live")).reference
            except NotFound:
                return None


def _captured(jobs: Jobs, database: Database, conductor: Conductor, engines: Engines) -> Any:
    """Register the jobs; returns the work of `release.prepare`, for the test to run when it wants."""
    found: dict[str, Any] = {}
    task = jobs.task

    def remember(name: str, work: Any, **options: Any) -> None:
        found[name] = work
        task(name, work, **options)

    jobs.task = remember  # type: ignore[method-assign]
    release_jobs.register(jobs, database, conductor, engines)
    jobs.task = task  # type: ignore[method-assign]
    return found["release.prepare"]
