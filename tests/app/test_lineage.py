"""What a thing was made of and what became of it, over HTTP, on a real database."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest

from charkha.app import lineage
from charkha.core.ids import mint, uuid7
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.kit.lineage import Node, link
from charkha.learn.feedback.domain import Draft
from charkha.learn.feedback.service import FeedbackService
from tests.callers import Callers, callers

pytestmark = pytest.mark.anyio


class World:
    """Two lessons, the data set version that they went into, and what came of that."""

    def __init__(self, database: Database, feedback: FeedbackService, app: Callers, key: bytes) -> None:
        self.database, self.feedback, self.app, self.workspace_id = database, feedback, app, app.workspaces["first"]
        self.answers = [mint(key), mint(key)]
        self.dataset, self.run, self.version, self.evaluation, self.rollout = (
            Node(kind, str(uuid7())) for kind in ("dataset_version", "run", "version", "evaluation", "rollout")
        )
        self.given: list[UUID] = []

    async def made(self) -> "World":
        async with self.database.workspace(self.workspace_id, "test") as tx:
            for answer in self.answers:
                draft = Draft(kind="thumb", inference_id=answer, value=1.0)
                self.given.append((await self.feedback.give(tx, draft)).id)
            sources = [Node("inference", str(each)) for each in self.answers]
            sources += [Node("feedback", str(each)) for each in self.given]
            await link(tx, sources, self.dataset)
            for source, target in (
                (self.dataset, self.run),
                (self.run, self.version),
                (self.version, self.evaluation),
                (self.version, self.rollout),
                (self.evaluation, self.rollout),
            ):
                await link(tx, [source], target)
        return self


@pytest.fixture
async def world(database: Database, jobs: Jobs, secrets_of_test: Secrets) -> World:
    feedback = FeedbackService(EventLog(database, jobs), secrets_of_test)
    app = await callers(database, secrets_of_test, lambda access: lineage.router(feedback, access))
    return await World(database, feedback, app, secrets_of_test.derive("inference-id", app.workspaces["first"])).made()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.app.client("viewer") as client:
        yield client


async def test_one_step_each_way(world: World, client: httpx.AsyncClient) -> None:
    told = (await client.get(f"/lineage/run/{world.run.id}")).json()
    run = {"kind": "run", "id": world.run.id}
    assert told == {
        "node": run,
        "sources": [{"kind": "dataset_version", "id": world.dataset.id, "steps": 1, "of": run}],
        "made": [{"kind": "version", "id": world.version.id, "steps": 1, "of": run}],
        "source_counts": {"dataset_version": 1},
        "made_counts": {"version": 1},
    }


async def test_what_became_of_an_answer(world: World, client: httpx.AsyncClient) -> None:
    answer, given = str(world.answers[0]), str(world.given[0])
    told = (await client.get(f"/lineage/inference/chatcmpl-{answer}", params={"depth": 10})).json()
    assert told["node"] == {"kind": "inference", "id": answer}
    assert told["sources"] == []
    assert [(each["kind"], each["id"], each["steps"]) for each in told["made"]] == [
        ("dataset_version", world.dataset.id, 1),
        ("feedback", given, 1),
        ("run", world.run.id, 2),
        ("version", world.version.id, 3),
        ("evaluation", world.evaluation.id, 4),
        ("rollout", world.rollout.id, 4),
    ]
    assert told["made"][3]["of"] == {"kind": "run", "id": world.run.id}
    assert told["made_counts"] == {"dataset_version": 1, "feedback": 1}


async def test_what_a_rollout_and_a_piece_of_feedback_came_from(world: World, client: httpx.AsyncClient) -> None:
    told = (await client.get(f"/lineage/rollout/{world.rollout.id}", params={"depth": 4})).json()
    assert [(each["kind"], each["steps"]) for each in told["sources"]] == [
        ("evaluation", 1),
        ("version", 1),
        ("run", 2),
        ("dataset_version", 3),
        *[("feedback", 4)] * 2,
        *[("inference", 4)] * 2,
    ]
    told = (await client.get(f"/lineage/feedback/{world.given[1]}")).json()
    assert [each["id"] for each in told["sources"]] == [str(world.answers[1])]
    assert told["source_counts"] == {"inference": 1}


async def test_things_come_before_leaves_and_each_way_is_bounded(world: World, client: httpx.AsyncClient) -> None:
    async with world.database.workspace(world.workspace_id, "test") as tx:
        leaves = [Node("inference", str(uuid7())) for _ in range(300)]
        await link(tx, [*leaves, Node("version", world.version.id)], world.dataset)
    told = (await client.get(f"/lineage/dataset_version/{world.dataset.id}")).json()
    assert len(told["sources"]) == lineage.MOST
    assert told["sources"][0]["kind"] == "version"
    assert told["source_counts"] == {"feedback": 2, "inference": 302, "version": 1}


async def test_a_circle_ends(world: World, client: httpx.AsyncClient) -> None:
    async with world.database.workspace(world.workspace_id, "test") as tx:
        await link(tx, [world.rollout], world.dataset)
    told = (await client.get(f"/lineage/dataset_version/{world.dataset.id}", params={"depth": 10})).json()
    assert [each["kind"] for each in told["made"]] == ["run", "version", "evaluation", "rollout"]


async def test_strangers_and_odd_questions(world: World, client: httpx.AsyncClient) -> None:
    async with world.app.client("second") as stranger:
        for kind, known in (("inference", world.answers[0]), ("feedback", world.given[0]), ("run", world.run.id)):
            told = (await stranger.get(f"/lineage/{kind}/{known}", params={"depth": 10})).json()
            assert (told["sources"], told["made"], told["source_counts"], told["made_counts"]) == ([], [], {}, {})
    for path, status in (
        (f"/lineage/run/{uuid4()}", 200),
        ("/lineage/run/none", 404),
        (f"/lineage/king/{uuid4()}", 422),
        (f"/lineage/run/{uuid4()}?depth=0", 422),
        (f"/lineage/run/{uuid4()}?depth=11", 422),
    ):
        assert (await client.get(path)).status_code == status, path
