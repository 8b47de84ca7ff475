"""The real recipe and the real evaluator on a tiny model: a run's artefacts are measured, and the candidate is better."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from charkha.core.messages import Example
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.learn.runs.domain import Run
from charkha.learn.runs.jobs import Trainer
from charkha.learn.runs.service import RunService
from charkha.testing.tiny_training import TinyTask, make_tiny_task
from tests.evaluate import world as worlds
from tests.learn.world import Base, Endpoints, Models

pytestmark = [pytest.mark.anyio, pytest.mark.model, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_tiny_task(tmp_path_factory.mktemp("tiny"))


def examples(path: Path) -> list[Example]:
    return msgspec.json.Decoder(Example).decode_lines(path.read_bytes())


async def test_a_turn_without_a_gateway(
    task: TinyTask,
    database: Database,
    jobs: Jobs,
    secrets_of_test: Secrets,
    workspace_id: UUID,
    tmp_path: Path,
) -> None:
    world = worlds.make(database, jobs, secrets_of_test, workspace_id, tmp_path)
    endpoints, log = Endpoints(), EventLog(database, jobs)
    runs = RunService(jobs, log, world.datasets, endpoints)
    trainer = Trainer(database, jobs, log, world.blobs, world.datasets, Models(task.model_gguf), tmp_path)
    trainer.register()
    async with database.workspace(workspace_id, "key:test") as tx:
        lessons = await world.datasets.freeze(tx, name="lessons", examples=examples(task.train))
        run = await runs.request(
            tx,
            endpoint_id=endpoints.add(Base("kinds")),
            dataset_version_id=lessons.id,
            recipe="sft",
            config=task.config | {"checkpoint_seconds": 0.01, "epochs": 12},
        )
    await train_with_a_kill(database, workspace_id, trainer, runs, run)
    async with database.workspace(workspace_id, "test") as tx:
        result = await runs.result(tx, run.id)
    assert result.base_hash == task.base_hash
    world.registry.path = task.model_gguf
    candidate = world.registry.add(
        kind="adapter",
        safetensors_blob=result.safetensors_blob,
        config_blob=result.config_blob,
        callable_name=None,
    )
    base = world.registry.add(callable_name=None)
    found = await world.evaluate(await world.suite(examples(task.heldout)), candidate, base)
    card = found.scorecard or {}
    assert (found.error, card["metric"], card["verdict"], card["greedy"]) == (None, "label_accuracy", "better", None)
    assert card["candidate"]["value"] > 0.8 > 0.3 > card["incumbent"]["value"]


async def train_with_a_kill(
    database: Database, workspace_id: UUID, trainer: Trainer, runs: RunService, run: Run
) -> None:
    """Carry out the run; kill the recipe once it has got somewhere."""
    working = asyncio.create_task(trainer.work(workspace_id, run_id=str(run.id)))
    killed = False
    async with asyncio.timeout(300):
        while not working.done():
            async with database.workspace(workspace_id, "test") as tx:
                now = await runs.get(tx, run.id)
            if now.step > 0 and not killed:
                killed = kill_recipe(run)
            await asyncio.sleep(0.05)
    await working
    async with database.workspace(workspace_id, "test") as tx:
        done = await runs.get(tx, run.id)
    assert (done.error, done.status, done.step, killed) == (None, "succeeded", done.steps, True)


def kill_recipe(run: Run) -> bool:
    """Kill the process whose command line names the run."""
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # a process that has just ended
            if f"runs/{run.id}/run.json" in cmdline.read_text(errors="replace"):
                os.kill(int(cmdline.parent.name), signal.SIGKILL)
                return True
    return False
