"""The routes of runs: what is asked, what is told, live progress, and nothing across workspaces."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from charkha.core.ids import uuid7
from charkha.kit import plugins
from charkha.kit.blobs import Blobs
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.learn.runs import api, store
from charkha.learn.runs.domain import Point
from charkha.learn.runs.jobs import Trainer
from charkha.learn.runs.service import RunService
from tests.callers import Callers, callers
from tests.learn.world import FAKE, Base, Datasets, Endpoints, Models, example

pytestmark = pytest.mark.anyio


@pytest.fixture
def body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(plugins, "available", lambda kind: FAKE)
    (tmp_path / "tiny.gguf").write_bytes(b"a model")
    return {"recipe": "fake", "config": {"steps": 3}}


@pytest.fixture
async def stations(body: dict[str, Any]) -> tuple[Datasets, Endpoints]:
    datasets, endpoints = Datasets(), Endpoints()
    version = datasets.hold([example("a", "a"), example("b", "b")])
    body |= {"dataset_version_id": str(version), "endpoint_id": str(endpoints.add(Base("mail")))}
    return datasets, endpoints


@pytest.fixture
async def trainer(
    database: Database, jobs: Jobs, secrets_of_test: Secrets, tmp_path: Path, stations: tuple[Datasets, Endpoints]
) -> Trainer:
    blobs = Blobs(f"file://{tmp_path}/blobs", secrets_of_test)
    models = Models(tmp_path / "tiny.gguf")
    trainer = Trainer(database, jobs, EventLog(database, jobs), blobs, stations[0], models, tmp_path)
    trainer.register()
    return trainer


@pytest.fixture
async def app(
    database: Database, jobs: Jobs, secrets_of_test: Secrets, trainer: Trainer, stations: tuple[Datasets, Endpoints]
) -> Callers:
    runs = RunService(jobs, EventLog(database, jobs), *stations)
    return await callers(database, secrets_of_test, lambda access: api.router(runs, access))


async def test_a_run_is_asked_for_listed_cancelled_and_resumed(app: Callers, body: dict[str, Any]) -> None:
    async with app.client() as client:
        made = await client.post("/runs", json=body)
        assert (made.status_code, made.json()["status"]) == (201, "queued")
        run = made.json()
        assert (await client.post("/runs", json=body)).status_code == 409
        listed = await client.get("/runs", params={"endpoint_id": body["endpoint_id"]})
        assert listed.json() == {"data": [run], "next": None}
        assert (await client.get("/runs", params={"endpoint_id": str(uuid7())})).json()["data"] == []
        assert (await client.post(f"/runs/{run['id']}/cancel")).json()["status"] == "cancelled"
        assert (await client.post(f"/runs/{run['id']}/cancel")).status_code == 409
        assert (await client.post(f"/runs/{run['id']}/resume")).json()["status"] == "queued"


async def test_progress_is_streamed_to_the_end(app: Callers, body: dict[str, Any], trainer: Trainer) -> None:
    async with app.client() as client:
        run = (await client.post("/runs", json=body)).json()
        await trainer.work(app.workspaces["first"], run_id=run["id"])
        events = (await client.get(f"/runs/{run['id']}/events")).text.split("\n\n")
        name, data = events[-2].split("\n")
        told = msgspec.json.decode(data.removeprefix("data: "))
        points = (await client.get(f"/runs/{run['id']}/points")).json()
        assert (await client.get(f"/runs/{run['id']}/points", params={"after_step": 2})).json() == points[2:]
    assert name == "event: end"
    assert (told["run"]["status"], told["points"]) == ("succeeded", points)
    assert [point["step"] for point in points] == [1, 2, 3]


async def test_the_log_is_read_by_pages(app: Callers, body: dict[str, Any], trainer: Trainer) -> None:
    async with app.client() as client:
        run = (await client.post("/runs", json=body)).json()
        path = f"/runs/{run['id']}/log"
        assert (await client.get(path)).json() == {"lines": [], "next": None}
        await trainer.work(app.workspaces["first"], run_id=run["id"])
        whole = (await client.get(path)).json()
        assert whole["next"] is None
        assert whole["lines"][-1]["text"] == "The run has succeeded."
        first = (await client.get(path, params={"limit": 4})).json()
        assert (len(first["lines"]), first["next"]) == (4, 4)
        rest = (await client.get(path, params={"after": first["next"]})).json()
        assert (first["lines"] + rest["lines"], rest["next"]) == (whole["lines"], None)
        for query in ("limit=0", "limit=1001", "after=-1", "after=x"):
            assert (await client.get(f"{path}?{query}")).status_code == 422
    async with app.client("viewer") as viewer:
        assert (await viewer.get(path)).json() == whole
    async with app.client("second") as other:
        assert (await other.get(path)).status_code == 404


async def test_runs_are_narrowed_by_data_and_status(app: Callers, body: dict[str, Any]) -> None:
    async with app.client() as client:
        run = (await client.post("/runs", json=body)).json()
        for query, found in (
            ({"dataset_version_id": run["dataset_version_id"]}, [run]),
            ({"dataset_version_id": str(uuid7())}, []),
            ({"dataset_version_id": [str(uuid7()), run["dataset_version_id"]]}, [run]),
            ({"status": "queued", "endpoint_id": run["endpoint_id"]}, [run]),
            ({"status": "failed"}, []),
        ):
            assert (await client.get("/runs", params=query)).json()["data"] == found, query
        assert (await client.get("/runs", params={"status": "asleep"})).status_code == 422


async def test_a_long_curve_is_told_in_as_many_points_as_one_asks_for(
    app: Callers, body: dict[str, Any], database: Database
) -> None:
    async with app.client() as client:
        run = (await client.post("/runs", json=body)).json()
        assert run["loss"] is None
        points = [Point(step, 1 / step, 0.1, float(step)) for step in range(3, 103)]
        async with database.workspace(app.workspaces["first"], "test") as tx:
            await store.add_points(tx, UUID(run["id"]), points)
        path = f"/runs/{run['id']}/points"
        whole = (await client.get(path)).json()
        assert (await client.get(path, params={"most": 100})).json() == whole
        few = (await client.get(path, params={"most": 4})).json()
        assert [point["step"] for point in few] == [27, 52, 77, 102]
        assert few[0]["tokens_per_second"] == pytest.approx(15.0)
        assert few[0]["loss"] == pytest.approx(sum(1 / step for step in range(3, 28)) / 25)
        for most in (1, 5001):
            assert (await client.get(path, params={"most": most})).status_code == 422
        assert (await client.get(f"/runs/{run['id']}")).json()["loss"] == points[-1].loss
        assert [each["loss"] for each in (await client.get("/runs")).json()["data"]] == [points[-1].loss]


async def test_the_end_of_a_log_is_read_at_once(app: Callers, body: dict[str, Any], trainer: Trainer) -> None:
    async with app.client() as client:
        run = (await client.post("/runs", json=body)).json()
        await trainer.work(app.workspaces["first"], run_id=run["id"])
        path = f"/runs/{run['id']}/log"
        whole = (await client.get(path)).json()["lines"]
        assert (await client.get(path, params={"last": 2})).json() == {"lines": whole[-2:], "next": None}
        assert (await client.get(path, params={"last": 1000})).json()["lines"] == whole
        assert (await client.get(path, params={"last": 0})).status_code == 422


async def test_recipes_tell_what_can_be_chosen(app: Callers) -> None:
    async with app.client("viewer") as viewer:
        (recipe,) = (await viewer.get("/recipes")).json()
    assert (recipe["name"], recipe["problem"]) == ("fake", None)
    assert recipe["description"].startswith("A recipe without a model")
    steps = recipe["config"]["properties"]["steps"]
    assert (steps["type"], steps["default"], steps["minimum"]) == ("integer", 4, 1)


async def test_a_recipe_that_cannot_be_used_says_why(app: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = EntryPoint("gone", "tests.learn.runs.no_such_recipe", "charkha.recipes")
    monkeypatch.setattr(plugins, "available", lambda kind: {**FAKE, "gone": gone})
    async with app.client() as client:
        usable, broken = (await client.get("/recipes")).json()
    assert (usable["name"], broken["name"]) == ("fake", "gone")
    assert "needs the package" in broken["problem"]
    assert broken["config"] == {}


async def test_a_wrong_body_is_refused(app: Callers, body: dict[str, Any]) -> None:
    async with app.client() as client:
        for change, status in (
            ({"seed": -1}, 422),
            ({"endpoint_id": "x"}, 422),
            ({"more": 1}, 422),
            ({"config": {"steps": "many"}}, 400),
            ({"recipe": "none"}, 400),
            ({"dataset_version_id": str(uuid7())}, 404),
        ):
            answer = await client.post("/runs", json=body | change)
            assert answer.status_code == status
            assert answer.json()["error"]["remedy"] or status == 404


async def test_permissions_and_other_workspaces(app: Callers, body: dict[str, Any]) -> None:
    async with app.client() as client:
        run = (await client.post("/runs", json=body)).json()
    async with app.client("viewer") as viewer:
        assert (await viewer.post("/runs", json=body)).status_code == 403
        assert (await viewer.post(f"/runs/{run['id']}/cancel")).status_code == 403
        assert (await viewer.get(f"/runs/{run['id']}")).json() == run
    async with app.client("second") as other:
        assert (await other.get("/runs")).json()["data"] == []
        for path in ("", "/points", "/events"):
            assert (await other.get(f"/runs/{run['id']}{path}")).status_code == 404
        for action in ("cancel", "resume"):
            assert (await other.post(f"/runs/{run['id']}/{action}")).status_code == 404
