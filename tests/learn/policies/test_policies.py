"""Policies with the real feedback on a real database: when lessons become a run, and that they do so once."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from charkha.core.clock import now
from charkha.core.errors import Invalid, NotFound
from charkha.core.events import FeedbackGathered
from charkha.core.ids import mint
from charkha.core.messages import Message
from charkha.kit import plugins
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database, Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.learn.feedback.domain import Draft
from charkha.learn.feedback.service import FeedbackService
from charkha.learn.policies.service import BUSY_SECONDS, JOB, SHIPPING_SECONDS, PolicyService
from charkha.learn.runs import store as run_store
from charkha.learn.runs.domain import Run
from charkha.learn.runs.jobs import Trainer
from charkha.learn.runs.service import RunService
from tests.callers import callers
from tests.learn.policies.test_domain import Content
from tests.learn.world import FAKE, Base, Datasets, Endpoints

pytestmark = pytest.mark.anyio

LABELS = ["ham", "spam"]


@dataclass
class Log:
    """The inference log: what has been shipped."""

    shipped: dict[UUID, Content] = field(default_factory=dict)

    async def contents(self, tx: Tx, ids: Collection[UUID]) -> dict[UUID, Content]:
        return {key: self.shipped[key] for key in ids if key in self.shipped}

    async def known(self, tx: Tx, ids: Collection[UUID]) -> set[UUID]:
        return set(ids) & set(self.shipped)

    async def count_kept(self, tx: Tx, endpoint_id: UUID, ids: Collection[UUID]) -> int:
        return sum(self.shipped[each].endpoint_id == endpoint_id for each in ids if each in self.shipped)


@dataclass
class Suites:
    held_out: set[bytes] = field(default_factory=set)

    async def held_out_hashes(self, tx: Tx, endpoint_id: UUID) -> set[bytes]:
        return self.held_out


@dataclass
class World:
    database: Database
    workspace_id: UUID
    id_key: bytes
    feedback: FeedbackService
    runs: RunService
    policies: PolicyService
    log: Log
    suites: Suites
    datasets: Datasets
    endpoints: Endpoints
    endpoint_id: UUID

    async def set(self, minimum: int, *, looked: bool = True, **more: Any) -> None:
        """Set the policy; `looked`: as if the look that follows had been taken already."""
        async with self.database.workspace(self.workspace_id, "key:test") as tx:
            await self.policies.put(tx, self.endpoint_id, minimum_examples=minimum, recipe="fake", **more)
        if looked:
            async with self.database.begin("charkha_system") as conn:
                await conn.execute(sa.text("DELETE FROM procrastinate_jobs WHERE task_name = :name"), {"name": JOB})

    async def teach(self, *answers: str, shipped: bool = True, minutes_ago: int = 0) -> list[UUID]:
        """Answer a request each, and correct the answer."""
        at = int((now() - timedelta(minutes=minutes_ago)).timestamp() * 1000)
        ids = [mint(self.id_key, at) for _ in answers]
        async with self.database.workspace(self.workspace_id, "key:test") as tx:
            for inference_id, answer in zip(ids, answers, strict=True):
                if shipped:
                    self.ship(inference_id)
                await self.feedback.give(tx, Draft(kind="correction", inference_id=inference_id, text=answer))
        return ids

    def ship(self, inference_id: UUID) -> None:
        prompt = (Message("user", f"mail {len(self.log.shipped)}"),)
        self.log.shipped[inference_id] = Content(inference_id, self.endpoint_id, prompt, "none")

    async def consider(self) -> None:
        async with self.database.workspace(self.workspace_id, "event:test") as tx:
            await self.policies.consider(tx, FeedbackGathered(feedback_id=uuid4()))

    async def listed(self) -> list[Run]:
        async with self.database.workspace(self.workspace_id, "test") as tx:
            return (await self.runs.listed(tx)).data

    async def delays(self) -> list[float]:
        """Seconds by which the waiting looks at the endpoint were put off."""
        query = sa.text(
            "SELECT extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs"
            " WHERE task_name = :name AND status = 'todo' AND scheduled_at IS NOT NULL"
        )
        async with self.database.begin("charkha_system") as conn:
            return [float(row[0]) for row in await conn.execute(query, {"name": JOB})]


@pytest.fixture
def world(
    database: Database,
    jobs: Jobs,
    secrets_of_test: Secrets,
    workspace_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    monkeypatch.setattr(plugins, "available", lambda kind: FAKE)
    events, log, suites = EventLog(database, jobs), Log(), Suites()
    datasets, endpoints = Datasets(), Endpoints()
    jobs.task("learn.run", Trainer.work, queue="train")
    runs = RunService(jobs, events, datasets, endpoints)
    feedback = FeedbackService(events, secrets_of_test)
    policies = PolicyService(
        jobs, runs, feedback=feedback, inferences=log, datasets=datasets, suites=suites, endpoints=endpoints
    )
    policies.register(jobs, database)
    endpoint_id = endpoints.add(Base("mail", labels=LABELS))
    id_key = secrets_of_test.derive("inference-id", workspace_id)
    return World(
        database,
        workspace_id,
        id_key,
        feedback,
        runs,
        policies,
        log,
        suites,
        datasets,
        endpoints,
        endpoint_id,
    )


async def test_enough_new_lessons_start_one_run_on_all_of_them(world: World) -> None:
    await world.set(4, config={"steps": 9})
    await world.teach("spam", "ham", "spam")
    await world.consider()
    assert await world.listed() == []
    await world.teach("HAM.")
    await world.consider()
    (run,) = await world.listed()
    assert (run.status, run.endpoint_id, run.config["steps"]) == ("queued", world.endpoint_id, 9)
    examples = world.datasets.kept[run.dataset_version_id]
    assert sorted(each.label or "" for each in examples) == ["ham", "ham", "spam", "spam"]
    assert {UUID(str(each.inference_id)) for each in examples} == set(world.log.shipped)
    assert {node.kind for node in world.datasets.sources} == {"feedback"}
    assert len(world.datasets.sources) == 4
    await world.consider()
    assert len(await world.listed()) == 1


async def test_five_handlers_at_once_start_one_run(world: World) -> None:
    await world.set(4)
    await world.teach("spam", "ham", "spam", "ham")
    await asyncio.gather(*(world.consider() for _ in range(5)))
    assert len(await world.listed()) == 1
    assert len(world.datasets.frozen) == 1


async def test_the_next_run_waits_for_new_lessons_and_for_the_run_before(world: World) -> None:
    await world.set(2)
    await world.teach("spam", "ham")
    await world.consider()
    await world.teach("spam", "ham")
    await world.consider()
    (first,) = await world.listed()
    assert [round(delay) for delay in await world.delays()] == [BUSY_SECONDS]
    async with world.database.workspace(world.workspace_id, "test") as tx:
        await world.runs.cancel(tx, first.id)
    await world.consider()
    second, _ = await world.listed()
    assert len(world.datasets.kept[second.dataset_version_id]) == 4


async def test_feedback_that_comes_before_its_inference_is_looked_at_again(world: World) -> None:
    await world.set(2)
    early = await world.teach("spam", "ham", shipped=False)
    await world.consider()
    assert await world.listed() == []
    assert [round(delay) for delay in await world.delays()] == [SHIPPING_SECONDS]
    for inference_id in early:
        world.ship(inference_id)
    await world.consider()
    assert len(await world.listed()) == 1


async def test_an_inference_that_never_came_is_not_waited_for(world: World) -> None:
    await world.set(2)
    await world.teach("spam", "ham", shipped=False, minutes_ago=11)
    await world.consider()
    assert (await world.listed(), await world.delays()) == ([], [])


async def test_what_is_held_out_for_the_suites_is_not_learned(world: World) -> None:
    await world.set(3)
    world.suites.held_out = {b"mail 0"}
    held_out, *_ = await world.teach("spam", "ham", "spam")
    await world.consider()
    (run,) = await world.listed()
    assert str(held_out) not in [each.inference_id for each in world.datasets.kept[run.dataset_version_id]]
    assert len(world.datasets.kept[run.dataset_version_id]) == 2


async def test_lessons_that_teach_nothing_are_a_failed_run_and_not_tried_again(world: World) -> None:
    await world.set(2)
    await world.teach("spam", "spam")
    await world.consider()
    await world.consider()
    (run,) = await world.listed()
    assert run.status == "failed"
    assert "All 2 lessons have the label 'spam'" in str(run.error)
    await world.teach("ham", "ham")
    await world.consider()
    assert [each.status for each in await world.listed()] == ["queued", "failed"]


async def test_a_recipe_that_is_gone_is_a_failed_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.set(2)
    await world.teach("spam", "ham")
    monkeypatch.setattr(plugins, "available", lambda kind: {})
    await world.consider()
    (run,) = await world.listed()
    assert (run.status, run.error) == ("failed", "There is no recipes plugin 'fake'. Known: none.")


async def test_what_is_of_other_endpoints_does_not_count(world: World) -> None:
    await world.set(2)
    await world.teach("spam", "ham")
    world.log.shipped = {key: Content(key, uuid4(), each.prompt, "") for key, each in world.log.shipped.items()}
    await world.consider()
    assert (await world.listed(), await world.delays()) == ([], [])


async def test_a_disabled_policy_and_a_deleted_endpoint_start_nothing(world: World) -> None:
    await world.set(1, enabled=False)
    await world.teach("spam", "ham")
    await world.consider()
    assert await world.listed() == []
    await world.set(1)
    del world.endpoints.known[world.endpoint_id]
    await world.consider()
    async with world.database.workspace(world.workspace_id, "test") as tx:
        assert not (await world.policies.get(tx, world.endpoint_id)).enabled


async def test_a_policy_is_checked_when_it_is_set(world: World) -> None:
    with pytest.raises(Invalid, match="fake: steps"):
        await world.set(1, config={"steps": 0})
    async with world.database.workspace(uuid4(), "test") as tx:
        with pytest.raises(NotFound, match="no training policy"):
            await world.policies.get(tx, world.endpoint_id)
        with pytest.raises(NotFound, match="no such endpoint"):
            await world.policies.put(tx, uuid4(), minimum_examples=1, recipe="fake")


async def test_the_job_considers_one_endpoint(world: World, jobs: Jobs) -> None:
    await world.teach("spam", "ham")
    await world.set(2, looked=False)
    working = asyncio.create_task(jobs.work("events", concurrency=1))
    try:
        async with asyncio.timeout(30):
            while not await world.listed():
                await asyncio.sleep(0.02)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert await run_count(world) == 1


async def run_count(world: World) -> int:
    async with world.database.workspace(world.workspace_id, "test") as tx:
        return len((await run_store.listed(tx, {"endpoint_id": world.endpoint_id}, after=None, limit=50)).data)


async def test_the_routes(world: World, secrets_of_test: Secrets) -> None:
    from charkha.learn.policies import api

    app = await callers(world.database, secrets_of_test, lambda access: api.router(world.policies, access))
    path, body = f"/training-policies/{world.endpoint_id}", {"minimum_examples": 5, "recipe": "fake"}
    async with app.client() as client, app.client("viewer") as viewer, app.client("second") as other:
        assert (await client.get(path)).status_code == 404
        made = await client.put(path, json=body)
        assert (made.status_code, made.json()["minimum_examples"], made.json()["enabled"]) == (200, 5, True)
        assert (await viewer.get(path)).json() == {**made.json(), "lessons_waiting": 0}
        assert (await viewer.put(path, json=body)).status_code == 403
        assert (await other.get(path)).status_code == 404
        assert (await client.put(path, json=body | {"minimum_examples": 0})).status_code == 422


async def test_policies_are_listed_by_page_and_by_endpoint(world: World, secrets_of_test: Secrets) -> None:
    from charkha.learn.policies import api

    app = await callers(world.database, secrets_of_test, lambda access: api.router(world.policies, access))
    ids = [str(world.endpoint_id), *(str(world.endpoints.add(Base(name, labels=LABELS))) for name in ("b", "c"))]
    async with app.client() as client, app.client("second") as other:
        for place, endpoint_id in enumerate(ids):
            body = {"minimum_examples": place + 1, "recipe": "fake", "enabled": place != 1}
            await client.put(f"/training-policies/{endpoint_id}", json=body)
        first = (await client.get("/training-policies?limit=2")).json()
        rest = (await client.get(f"/training-policies?limit=2&after={first['next']}")).json()
        found = [each["endpoint_id"] for each in first["data"] + rest["data"]]
        assert (found, rest["next"]) == (sorted(ids, reverse=True), None)
        two = (await client.get("/training-policies", params={"endpoint_id": ids[:2]})).json()["data"]
        assert {each["endpoint_id"]: each["enabled"] for each in two} == {ids[0]: True, ids[1]: False}
        assert (await other.get("/training-policies", params={"endpoint_id": ids})).json()["data"] == []
        many = {"endpoint_id": [str(uuid4()) for _ in range(501)]}
        assert (await client.get("/training-policies", params=many)).status_code == 422


async def test_the_lessons_that_wait_are_told(world: World) -> None:
    async def waiting() -> int:
        async with world.database.workspace(world.workspace_id, "test") as tx:
            return (await world.policies.outlook(tx, world.endpoint_id)).lessons_waiting

    await world.set(3)
    await world.teach("spam", "ham")
    elsewhere = await world.teach("spam")
    world.log.shipped[elsewhere[0]] = Content(elsewhere[0], uuid4(), (Message("user", "mail"),), "none")
    await world.teach("spam", shipped=False)
    assert await waiting() == 2, "those of this endpoint that are in the log"
    await world.consider()
    assert (await world.listed(), await waiting()) == ([], 2)
    await world.teach("ham")
    assert await waiting() == 3
    await world.consider()
    assert (len(await world.listed()), await waiting()) == (1, 0), "training has taken them in"
    async with world.database.workspace(uuid4(), "test") as tx:
        with pytest.raises(NotFound):
            await world.policies.outlook(tx, world.endpoint_id)
