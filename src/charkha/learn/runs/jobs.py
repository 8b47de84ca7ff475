"""The job that carries out a run: a recipe's process is started, watched each second, and its artefacts are stored.

A worker that is killed takes the recipe with it; the job is found again and another attempt goes on from the last
checkpoint. A recipe that is killed is started again at once, unless it gets no further.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.errors import CharkhaError, Misconfigured, Unavailable
from charkha.kit import plugins, programs, telemetry
from charkha.kit.blobs import Blobs
from charkha.kit.crashpoints import crashpoint
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.kit.process import Backoff, explain, tail
from charkha.learn.ports import Datasets, ModelFiles
from charkha.learn.runs import domain, store
from charkha.learn.runs.claim import ACTOR, Claim, Superseded
from charkha.learn.runs.directory import RunDirectory
from charkha.learn.runs.journal import Follower, Journal
from charkha.learn.runs.service import JOB

BEAT_SECONDS = 1.0
MOST_ATTEMPTS = 20
log = telemetry.logger(__name__)


class RecipeFailed(CharkhaError):
    """A recipe said why it cannot go on, or was killed again and again."""

    code = "recipe_failed"


class Trainer:
    """Carries out runs on this machine, below `home`. `nice` is added to a recipe's own niceness, `threads` is its share."""

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        events: EventLog,
        blobs: Blobs,
        datasets: Datasets,
        models: ModelFiles,
        home: Path,
        *,
        nice: int = 0,
        threads: int | None = None,
    ) -> None:
        self._threads = threads
        self._database, self._jobs, self._events, self._blobs = database, jobs, events, blobs
        self._datasets, self._models, self._home, self._nice = datasets, models, home, nice
        self._backoff = Backoff()

    def register(self) -> None:
        """Register the job."""
        self._jobs.task(JOB, self.work, queue="train")

    async def work(self, workspace_id: UUID, *, run_id: str) -> None:
        """Carry out a run, or go on with it. What went wrong stands in its row; a fault of ours is raised as well."""
        async with self._database.workspace(workspace_id, ACTOR) as tx:
            run = await store.claim(tx, UUID(run_id))
        if run is None:
            return
        crashpoint("run.after_claim")
        claim = Claim(self._database, self._events, workspace_id, run)
        bound = log.bind(run_id=run_id, attempt=run.attempt)
        try:
            await self._carry_out(claim)
        except Superseded:
            bound.warning("run.superseded")
        except Unavailable as error:
            bound.warning("run.postponed", reason=str(error))
            await self._postpone(claim, error)
        except CharkhaError as error:
            bound.warning("run.failed", reason=str(error))
            await claim.end("failed", str(error))
        except Exception as error:
            await claim.end("failed", f"Something went wrong inside Charkha ({type(error).__name__}). See its log.")
            raise

    async def _carry_out(self, claim: Claim) -> None:
        """The run from where it is to its end. Raises CharkhaError for whatever makes it fail."""
        if claim.run.cancel_requested:
            await claim.end("cancelled")
            return
        defaults = self._defaults(claim.run.recipe)
        directory = RunDirectory(self._home, claim.run, defaults)
        claim.journal.say(*_introduction(claim.run, defaults))
        await self._prepare(claim, directory)
        if await self._train(claim, directory) == "succeeded":
            await self._store(claim, directory)
        else:
            await claim.end("cancelled")

    def _defaults(self, recipe: str) -> dict[str, int]:
        """What this machine gives to a recipe that has a say in it."""
        has_threads = "threads" in plugins.load("recipes", recipe).Config.model_fields
        return {"threads": self._threads} if has_threads and self._threads else {}

    async def _postpone(self, claim: Claim, error: Unavailable) -> None:
        """Try again later, as a part is missing now. If that is the database this fails, and the queue tries again."""
        if claim.run.attempt >= MOST_ATTEMPTS:
            await claim.end("failed", str(error))
            return
        run_id, delay = str(claim.run.id), self._backoff.draw(claim.run.attempt)
        try:
            async with self._database.workspace(claim.workspace_id, ACTOR) as tx:
                await claim.pause(tx, str(error))
                await self._jobs.defer(tx, JOB, lock=f"run:{run_id}", delay=delay, run_id=run_id)
        except Superseded:
            log.warning("run.superseded", run_id=run_id, attempt=claim.run.attempt)

    async def _prepare(self, claim: Claim, directory: RunDirectory) -> None:
        async with self._database.workspace(claim.workspace_id, ACTOR) as tx:
            examples = await self._datasets.examples(tx, claim.run.dataset_version_id)
        claim.journal.say(f"Data set version {claim.run.dataset_version_id}: {len(examples):,} examples.")
        with plugins.boundary("The run's directory"):
            await asyncio.to_thread(directory.prepare, examples, self._models.gguf(claim.run.base_model))

    async def _train(self, claim: Claim, directory: RunDirectory) -> domain.Outcome:
        """Run the recipe, again where it was killed, to an end that is its own. Raises RecipeFailed."""
        heard, crashes = domain.Heard(step=claim.run.step), domain.Crashes()
        while True:
            exit_status, cancelled = await self._process(claim, directory, heard)
            if isinstance(heard.end, domain.Failed):
                raise RecipeFailed(heard.end.message, remedy=heard.end.remedy)
            outcome = domain.outcome(heard.end, exit_status, cancelled)
            if outcome != "crashed":
                return outcome
            crashes = crashes.after(heard.furthest)
            log.warning("recipe.crashed", run_id=str(claim.run.id), how=explain(exit_status), count=crashes.count)
            claim.journal.say(f"The recipe ended without a result ({explain(exit_status)}).")
            if crashes.hopeless:
                raise _hopeless(exit_status, directory)
            claim.journal.say("It is started again, and goes on from its last checkpoint.")
            await asyncio.sleep(self._backoff.draw(crashes.count))

    async def _process(self, claim: Claim, directory: RunDirectory, heard: domain.Heard) -> tuple[int, bool]:
        """One process of the recipe: its exit status, and whether it was told to stop because the run is cancelled."""
        heard.end, stopping, recipe = None, False, _module(claim.run.recipe)
        errors = Follower(directory.log)
        async with programs.running(recipe, directory.run_json, log=directory.log, nice=self._nice) as program:
            listening = asyncio.create_task(_listen(program, heard, claim.journal))
            try:
                while not listening.done():
                    await asyncio.wait({listening}, timeout=BEAT_SECONDS)
                    claim.journal.say(*await asyncio.to_thread(errors.read))
                    if await _beat(claim, heard) and not stopping:
                        stopping = True
                        claim.journal.say("The run shall be cancelled: the recipe is told to stop.")
                        program.stop()
                await listening
            finally:
                listening.cancel()
            exit_status = await program.ended()
        claim.journal.say(*await asyncio.to_thread(errors.read, to_end=True))
        return exit_status, stopping

    async def _store(self, claim: Claim, directory: RunDirectory) -> None:
        files = await asyncio.to_thread(directory.artefacts)
        addresses = {name: await self._blobs.put(claim.workspace_id, content) for name, content in files.items()}
        crashpoint("artefact.after_blob")
        await claim.succeed(directory.result(addresses))
        await asyncio.to_thread(directory.tidy)


async def _beat(claim: Claim, heard: domain.Heard) -> bool:
    """A beat that bears a database which is gone for a while: what was heard is kept for the next."""
    try:
        return await claim.beat(heard)
    except Unavailable as error:
        log.warning("run.beat_missed", run_id=str(claim.run.id), reason=str(error))
        return False


async def _listen(program: programs.Program, heard: domain.Heard, journal: Journal) -> None:
    async for event in program.events():
        journal.hear(event)
        try:
            heard.take(event)
        except msgspec.ValidationError:
            log.info("recipe.said", **{f"recipe_{key}": value for key, value in event.items()})


def _introduction(run: domain.Run, defaults: Mapping[str, Any]) -> Iterator[str]:
    """How an attempt's log begins."""
    yield f"Attempt {run.attempt}: recipe {run.recipe} on {run.base_model}, seed {run.seed}."
    chosen = {**defaults, **run.config}
    yield f"Configuration: {', '.join(f'{name}={value}' for name, value in chosen.items()) or 'none'}."


def _module(recipe: str) -> str:
    """The module that a recipe is run as. Raises Misconfigured where it is no longer installed."""
    found = plugins.available("recipes").get(recipe)
    if found is None:
        raise Misconfigured(f"The recipe '{recipe}' is not installed here.", remedy="Install its package again.")
    return found.module


def _hopeless(exit_status: int, directory: RunDirectory) -> RecipeFailed:
    last = tail(directory.log, 1)
    return RecipeFailed(
        f"The recipe ended without a result ({explain(exit_status)}) {domain.MOST_CRASHES} times without getting "
        f"further{f': {last}' if last else ''}.",
        remedy="If it was killed it may lack memory: lower batch_size or max_length.",
    )
