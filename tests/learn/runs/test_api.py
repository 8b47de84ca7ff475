"""The routes of runs: what is asked, what is told, live progress, and nothing across workspaces."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from charkha.core.ids import uuid7
from charkha.kit import plugins
from charkha.kit.blobs import Blobs
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.learn.runs import api
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
