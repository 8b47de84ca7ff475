"""Runs from request to artefact, with real processes: succeeded, refused, cancelled, killed, superseded."""

import asyncio
import hashlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from charkha.core.errors import Conflict, Invalid, NotFound, Unavailable
from charkha.kit import plugins
from charkha.kit.blobs import Blobs
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog, events
from charkha.kit.jobs import Jobs
from charkha.kit.lineage import Node, sources_of
from charkha.learn.runs import jobs as run_jobs
from charkha.learn.runs import journal, store
from charkha.learn.runs.domain import Run
from charkha.learn.runs.jobs import Trainer
from charkha.learn.runs.service import RunService, checked_config
from tests.learn.world import FAKE, Base, Datasets, Endpoints, Models, example

pytestmark = pytest.mark.anyio


@dataclass
class World:
    database: Database
    workspace_id: UUID
    blobs: Blobs
    runs: RunService
    trainer: Trainer
    datasets: Datasets
    endpoints: Endpoints
    home: Path

    async def request(self, **config: Any) -> Run:
        version = self.datasets.hold([example("a", "a"), example("b", "b")])
        endpoint_id = self.endpoints.add(Base("mail"))
        async with self.database.workspace(self.workspace_id, "key:test") as tx:
            return await self.runs.request(
                tx, endpoint_id=endpoint_id, dataset_version_id=version, recipe="fake", config=config, seed=7
            )

    async def work(self, run: Run) -> None:
        await self.trainer.work(self.workspace_id, run_id=str(run.id))

    async def get(self, run: Run) -> Run:
        async with self.database.workspace(self.workspace_id, "test") as tx:
            return await self.runs.get(tx, run.id)

    async def act(self, action: Callable[..., Awaitable[Run]], run: Run) -> Run:
        async with self.database.workspace(self.workspace_id, "key:test") as tx:
            return await action(tx, run.id)

    async def told(self, run: Run) -> list[str]:
        """The texts of the run's log."""
        async with self.database.workspace(self.workspace_id, "test") as tx:
            log = await self.runs.log(tx, run.id, limit=1000)
        assert [line.number for line in log.lines] == list(range(1, len(log.lines) + 1))
        assert sorted(line.at for line in log.lines) == [line.at for line in log.lines]
        return [line.text for line in log.lines]

    async def until(self, run: Run, condition: Callable[[Run], bool]) -> Run:
        async with asyncio.timeout(30):
            while not condition(found := await self.get(run)):
                await asyncio.sleep(0.02)
        return found

    def pids(self, run: Run) -> list[int]:
        return [int(pid) for pid in (self.home / "runs" / str(run.id) / "pids").read_text().split()]


@pytest.fixture
def world(
    database: Database,
    jobs: Jobs,
    secrets_of_test: Secrets,
    workspace_id: UUID,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    monkeypatch.setattr(plugins, "available", lambda kind: FAKE)
    monkeypatch.setattr(run_jobs, "BEAT_SECONDS", 0.05)
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"a model")
    log, blobs = EventLog(database, jobs), Blobs(f"file://{tmp_path}/blobs", secrets_of_test)
    datasets, endpoints = Datasets(), Endpoints()
    trainer = Trainer(database, jobs, log, blobs, datasets, Models(model), tmp_path)
    trainer.register()
    runs = RunService(jobs, log, datasets, endpoints)
    return World(database, workspace_id, blobs, runs, trainer, datasets, endpoints, tmp_path)


async def test_a_run_leaves_checked_artefacts_a_curve_and_its_lineage(world: World) -> None:
    run = await world.request(steps=4)
    assert (run.status, run.config, run.base_model, run.seed) == ("queued", {"steps": 4, "ending": "done"}, "tiny", 7)
    await world.work(run)
    done = await world.get(run)
    assert (done.status, done.step, done.steps, done.attempt, done.error) == ("succeeded", 4, 4, 1, None)
    assert done.result is not None
    gguf = await world.blobs.get(world.workspace_id, done.result["gguf_blob"])
    assert hashlib.sha256(gguf).hexdigest() == done.result["gguf_sha256"]
    assert await world.blobs.get(world.workspace_id, done.result["config_blob"]) == b"{}"
    async with world.database.workspace(world.workspace_id, "test") as tx:
        assert [(point.step, point.loss) for point in await world.runs.points(tx, run.id)] == [
            (step, 1 / step) for step in (1, 2, 3, 4)
        ]
        made_of = await sources_of(tx, Node("run", str(run.id)))
        assert made_of == [Node("dataset_version", str(run.dataset_version_id))]
        topics = [row.topic for row in await tx.all(sa.select(events.c.topic).order_by(events.c.id))]
        result = await world.runs.result(tx, run.id)
    assert topics == ["run.requested", "candidate.trained"]
    assert (result.endpoint_name, result.engine, result.metrics) == ("mail", "local", {"steps": 4})
    assert result.base_hash == hashlib.sha256(b"a model").hexdigest()
    assert [path.name for path in (world.home / "runs" / str(run.id)).iterdir()] == ["recipe.log"]


async def test_carrying_out_an_ended_run_again_changes_nothing(world: World) -> None:
    run = await world.request()
    await world.work(run)
    done = await world.get(run)
    await world.work(run)
    assert await world.get(run) == done


async def test_what_a_recipe_complains_of_is_told(world: World) -> None:
    run = await world.request(ending="error")
    await world.work(run)
    failed = await world.get(run)
    assert (failed.status, failed.error) == ("failed", "All are alike. Add others.")
    async with world.database.workspace(world.workspace_id, "test") as tx:
        with pytest.raises(Conflict, match="no result"):
            await world.runs.result(tx, run.id)


async def test_an_artefact_that_is_not_as_recorded_is_found(world: World) -> None:
    run = await world.request(ending="lie")
    await world.work(run)
    failed = await world.get(run)
    assert failed.status == "failed"
    assert "adapter.gguf is not what the recipe recorded" in str(failed.error)


async def test_a_recipe_that_is_killed_goes_on_from_its_checkpoint(world: World) -> None:
    run = await world.request(ending="die_once", steps=5)
    await world.work(run)
    done = await world.get(run)
    assert (done.status, done.step, done.attempt) == ("succeeded", 5, 1)


async def test_a_recipe_that_is_killed_without_getting_further_fails(world: World) -> None:
    run = await world.request(ending="die", steps=1)
    await world.work(run)
    failed = await world.get(run)
    assert failed.status == "failed"
    assert "killed by SIGKILL) 3 times" in str(failed.error)
    assert "lower batch_size" in str(failed.error)


async def test_a_recipe_that_ends_without_a_word_fails_with_its_last_line(world: World) -> None:
    run = await world.request(ending="silent")
    await world.work(run)
    assert "(exit 3) 3 times without getting further: out of ideas" in str((await world.get(run)).error)


async def test_a_run_that_waits_is_cancelled_at_once(world: World) -> None:
    run = await world.request()
    assert (await world.act(world.runs.cancel, run)).status == "cancelled"
    await world.work(run)
    assert (await world.get(run)).attempt == 0
    with pytest.raises(Conflict, match="cancelled already"):
        await world.act(world.runs.cancel, run)


async def test_a_run_is_cancelled_while_it_runs_and_taken_up_again(world: World) -> None:
    run = await world.request(ending="wait_once", steps=4)
    working = asyncio.create_task(world.work(run))
    await world.until(run, lambda seen: seen.step == 2)
    await world.act(world.runs.cancel, run)
    await working
    cancelled = await world.get(run)
    assert (cancelled.status, cancelled.step, cancelled.error) == ("cancelled", 2, None)
    assert (await world.act(world.runs.resume, run)).status == "queued"
    await world.work(run)
    assert ((done := await world.get(run)).status, done.step, done.attempt) == ("succeeded", 4, 2)
    with pytest.raises(Conflict, match="is succeeded"):
        await world.act(world.runs.resume, run)


async def test_a_cancelled_worker_takes_its_recipe_along_and_the_next_attempt_goes_on(world: World) -> None:
    run = await world.request(ending="wait_once", steps=4)
    working = asyncio.create_task(world.work(run))
    await world.until(run, lambda seen: seen.step == 2)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    (pid,) = world.pids(run)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (await world.get(run)).status == "running"
    await world.work(run)
    assert ((done := await world.get(run)).status, done.attempt) == ("succeeded", 2)


async def test_a_superseded_worker_stops_its_recipe_and_changes_nothing(world: World) -> None:
    run = await world.request(ending="wait")
    first = asyncio.create_task(world.work(run))
    await world.until(run, lambda seen: seen.step > 0)
    async with world.database.workspace(world.workspace_id, "test") as tx:
        claimed = await store.claim(tx, run.id)
    await first
    now = await world.get(run)
    assert claimed is not None
    assert (now.status, now.attempt, now.result, now.error) == ("running", 2, None, None)
    async with world.database.workspace(world.workspace_id, "test") as tx:
        assert await store.beat(tx, run.id, 1, step=99, steps=99, seconds_left=1) is None
        assert not await store.finish(tx, run.id, 1, "failed")
        assert await store.finish(tx, run.id, 2, "failed")


async def test_one_candidate_at_a_time(world: World) -> None:
    run = await world.request()
    async with world.database.workspace(world.workspace_id, "test") as tx:
        with pytest.raises(Conflict, match="in the making"):
            await world.runs.request(
                tx, endpoint_id=run.endpoint_id, dataset_version_id=run.dataset_version_id, recipe="fake"
            )


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"recipe": "none"}, Invalid, "no recipes plugin 'none'"),
        ({"config": {"steps": 0}}, Invalid, "fake: steps"),
        ({"config": {"strange": 0}}, Invalid, "fake: strange"),
        ({"dataset_version_id": uuid4()}, NotFound, "data set version"),
        ({"endpoint_id": uuid4()}, NotFound, "endpoint"),
    ],
)
async def test_a_wrong_request_is_refused(
    world: World, change: dict[str, Any], error: type[Exception], told: str
) -> None:
    good = {
        "endpoint_id": world.endpoints.add(Base("mail")),
        "dataset_version_id": world.datasets.hold([example("a", None)]),
        "recipe": "fake",
    }
    async with world.database.workspace(world.workspace_id, "test") as tx:
        with pytest.raises(error, match=told):
            await world.runs.request(tx, **(good | change))


async def test_a_missing_model_fails_the_run_with_a_remedy(world: World) -> None:
    version, endpoint = world.datasets.hold([example("a", None)]), world.endpoints.add(Base("mail", model="huge"))
    async with world.database.workspace(world.workspace_id, "test") as tx:
        run = await world.runs.request(tx, endpoint_id=endpoint, dataset_version_id=version, recipe="fake")
    await world.work(run)
    assert (await world.get(run)).error == "There is no model 'huge' here. Choose another."


async def test_another_workspace_reaches_nothing(world: World) -> None:
    run = await world.request()
    async with world.database.workspace(uuid4(), "test") as tx:
        assert (await world.runs.listed(tx)).data == []
        for reach in (
            *(world.runs.get, world.runs.points, world.runs.log),
            *(world.runs.cancel, world.runs.resume, world.runs.result),
        ):
            with pytest.raises(NotFound):
                await reach(tx, run.id)
        assert await store.claim(tx, run.id) is None


async def test_a_worker_that_is_stopped_by_a_signal_to_its_recipe_goes_on(world: World) -> None:
    run = await world.request(ending="wait_once", steps=3)
    working = asyncio.create_task(world.work(run))
    await world.until(run, lambda seen: seen.step == 2)
    os.kill(world.pids(run)[0], signal.SIGTERM)
    await working
    assert (await world.get(run)).status == "succeeded"


async def test_the_log_tells_a_person_what_happened(world: World) -> None:
    run = await world.request(ending="die_once", steps=4)
    await world.work(run)
    assert await world.told(run) == [
        "Attempt 1: recipe fake on tiny, seed 7.",
        "Configuration: steps=4, ending=die_once.",
        f"Data set version {run.dataset_version_id}: 2 examples.",
        "The recipe has started: 4 steps planned.",
        "Step 1 of 4 · loss 1 · 0.5 s left",
        "Step 2 of 4 · loss 0.5 · 0.5 s left",
        "Checkpoint saved at step 4.",
        "The recipe ended without a result (killed by SIGKILL).",
        "It is started again, and goes on from its last checkpoint.",
        "The recipe has started: 4 steps planned.",
        "Resumed from the checkpoint of step 2.",
        "Step 3 of 4 · loss 0.3333 · 0.5 s left",
        "Step 4 of 4 · loss 0.25 · 0.5 s left",
        "Checkpoint saved at step 4.",
        "The recipe is done: 4 steps.",
        "The run has succeeded.",
    ]


@pytest.mark.parametrize(
    ("ending", "last"),
    [
        ("error", "The run has failed: All are alike. Add others."),
        ("lie", "The run has failed: adapter.gguf is not what the recipe recorded. Check the disk, then run again."),
        ("silent", "The run has failed: The recipe ended without a result (exit 3)"),
    ],
)
async def test_the_log_ends_with_what_went_wrong(world: World, ending: str, last: str) -> None:
    run = await world.request(ending=ending)
    await world.work(run)
    told = await world.told(run)
    assert told[-1].startswith(last)
    assert told.count("out of ideas") == (3 if ending == "silent" else 0), "standard error is in it"


async def test_the_log_goes_on_where_a_run_is_taken_up(world: World) -> None:
    run = await world.request(ending="wait_once", steps=4)
    working = asyncio.create_task(world.work(run))
    await world.until(run, lambda seen: seen.step == 2)
    assert "Step 2 of 4 · loss 0.5 · 0.5 s left" in await world.told(run), "while it runs"
    await world.act(world.runs.cancel, run)
    await working
    told = await world.told(run)
    assert told[-3:] == [
        "The run shall be cancelled: the recipe is told to stop.",
        "Stopped at step 1; its checkpoint stays.",
        "The run is cancelled.",
    ]
    await world.act(world.runs.resume, run)
    await world.work(run)
    later = (await world.told(run))[len(told) :]
    assert later[0] == "Attempt 2: recipe fake on tiny, seed 7."
    assert later[-1] == "The run has succeeded."


async def test_a_full_log_says_so_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_LINES", 6)
    run = await world.request(ending="wait_once", steps=4)
    working = asyncio.create_task(world.work(run))
    await world.until(run, lambda seen: seen.step == 2)
    await world.act(world.runs.cancel, run)
    await working
    told = await world.told(run)
    assert (len(told), told[-1]) == (7, journal.FULL)
    await world.act(world.runs.resume, run)
    await world.work(run)
    assert await world.told(run) == told


async def test_a_superseded_worker_writes_no_line(world: World) -> None:
    run = await world.request(ending="wait")
    first = asyncio.create_task(world.work(run))
    await world.until(run, lambda seen: seen.step > 0)
    async with world.database.workspace(world.workspace_id, "test") as tx:
        await store.claim(tx, run.id)
        before = await store.lines(tx, run.id, after=0, limit=100)
    await first
    async with world.database.workspace(world.workspace_id, "test") as tx:
        assert await store.lines(tx, run.id, after=0, limit=100) == before
        assert not await store.is_own(tx, run.id, 1)
        assert await store.is_own(tx, run.id, 2)


async def test_a_run_that_is_put_off_says_why(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> None:
        raise Unavailable("The store is away.", remedy="It will come back.")

    run = await world.request()
    monkeypatch.setattr(world.datasets, "examples", away)
    await world.work(run)
    assert (await world.told(run))[-1] == "The run is put off: The store is away. It will come back."
    assert (await world.get(run)).status == "running"


def test_what_the_worker_s_machine_decides_is_left_to_it_unless_asked_for() -> None:
    assert "threads" not in checked_config("sft", {"rank": 4})
    assert checked_config("sft", {"threads": 3})["threads"] == 3
    assert checked_config("sft", {})["rank"] == 16
