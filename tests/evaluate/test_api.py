"""The routes of suites and evaluations."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from charkha.evaluate import api, likelihood
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.jobs import Jobs
from tests.callers import Callers, callers
from tests.evaluate import world as worlds
from tests.evaluate.world import World, example

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(
    database: Database,
    jobs: Jobs,
    secrets_of_test: Secrets,
    workspace_id: UUID,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    monkeypatch.setattr(likelihood, "MODULE", "tests.evaluate.fake_evaluator")
    return worlds.make(database, jobs, secrets_of_test, workspace_id, tmp_path)


@pytest.fixture
async def app(world: World, secrets_of_test: Secrets) -> Callers:
    made = await callers(
        world.database, secrets_of_test, lambda access: api.router(world.suites, world.evaluations, access)
    )
    world.workspace_id = made.workspaces["first"]
    return made


async def test_from_a_suite_to_a_scorecard(app: Callers, world: World) -> None:
    suite = await world.suite([example(f"{label} {n}", label) for n in range(5) for label in "ab"], "first")
    base, candidate = world.registry.add(), await world.adapter("9")
    body = {
        "name": "second",
        "endpoint_id": str(suite.endpoint_id),
        "dataset_version_id": str(suite.dataset_version_id),
    }
    versions = {"candidate_version_id": str(candidate.id), "incumbent_version_id": str(base.id)}
    async with app.client() as client:
        made = await client.post("/suites", json=body)
        assert made.status_code == 201
        assert [each["name"] for each in (await client.get("/suites")).json()["data"]] == ["second", "first"]
        for version, names in ((body["dataset_version_id"], ["second", "first"]), (str(uuid4()), [])):
            held_out = (await client.get("/suites", params={"dataset_version_id": version})).json()["data"]
            assert [each["name"] for each in held_out] == names
        assert (await client.post("/suites", json=body)).status_code == 409
        asked = await client.post("/evaluations", json={"suite_id": made.json()["id"], **versions})
        assert (asked.status_code, asked.json()["status"]) == (201, "queued")
        await world.evaluator.work(world.workspace_id, evaluation_id=asked.json()["id"])
        found = (await client.get(f"/evaluations/{asked.json()['id']}")).json()
        assert (found["status"], found["scorecard"]["verdict"]) == ("succeeded", "better")
        listed = await client.get("/evaluations", params={"suite_id": made.json()["id"]})
        assert listed.json() == {"data": [found], "next": None}
        for status, expected in (("succeeded", [found]), ("failed", [])):
            assert (await client.get("/evaluations", params={"status": status})).json()["data"] == expected
        assert (await client.get("/evaluations", params={"status": "asleep"})).status_code == 422
        assert (await client.post("/evaluations", json={"suite_id": "x"})).status_code == 422


async def test_the_newest_evaluation_of_each_version_is_told_at_once(app: Callers, world: World) -> None:
    suite = await world.suite([example("a", "a"), example("b", "b")])
    first, second, third = (str(world.registry.add().id) for _ in range(3))
    made = []
    async with app.client() as client:
        for candidate, incumbent in ((first, None), (second, None), (first, second), (third, None)):
            body = {"suite_id": str(suite.id), "candidate_version_id": candidate, "incumbent_version_id": incumbent}
            made.append((await client.post("/evaluations", json=body)).json()["id"])

        async def ids(**query: Any) -> list[str]:
            return [each["id"] for each in (await client.get("/evaluations", params=query)).json()["data"]]

        assert await ids(candidate_version_id=first) == [made[2], made[0]]
        assert await ids(candidate_version_id=[first, second]) == [made[2], made[1], made[0]]
        assert await ids(candidate_version_id=[first, second], newest=True) == [made[2], made[1]]
        assert await ids(newest=True, limit=2) == [made[3], made[2]]
        assert await ids(candidate_version_id=str(uuid4())) == []
        many = [str(uuid4()) for _ in range(501)]
        assert (await client.get("/evaluations", params={"candidate_version_id": many})).status_code == 422


async def test_permissions_and_other_workspaces(app: Callers, world: World) -> None:
    suite = await world.suite([example("a", "a"), example("b", "b")])
    body = {"suite_id": str(suite.id), "candidate_version_id": str(world.registry.add().id)}
    async with app.client() as client:
        found = (await client.post("/evaluations", json=body)).json()
    async with app.client("viewer") as viewer:
        assert (await viewer.get(f"/evaluations/{found['id']}")).json() == found
        assert (await viewer.post("/evaluations", json=body)).status_code == 403
    async with app.client("second") as other:
        assert (await other.get("/evaluations")).json()["data"] == (await other.get("/suites")).json()["data"] == []
        assert (await other.get(f"/evaluations/{found['id']}")).status_code == 404
        assert (await other.post("/evaluations", json=body)).status_code == 404
        assert (await other.get(f"/evaluations/{uuid4()}")).status_code == 404
