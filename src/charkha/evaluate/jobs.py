"""The job that carries out an evaluation: what is not measured yet is measured, kept, and compared.

Everything measured is kept by suite, version and metric, so that a job which is found again after its worker died, or
another evaluation of the same incumbent, measures only the rest.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.errors import CharkhaError, NotFound, Unavailable
from charkha.core.events import ScorecardReady
from charkha.core.messages import Example
from charkha.evaluate import cards, store
from charkha.evaluate.cards import Card, Scores
from charkha.evaluate.greedy import Greedy
from charkha.evaluate.likelihood import Likelihood, Outcome, as_asked
from charkha.evaluate.ports import Answers, Datasets, EvaluatedVersion, ModelFiles, Versions
from charkha.evaluate.scoring import Metric, classes, metrics
from charkha.evaluate.service import JOB
from charkha.evaluate.store import Evaluation, Suite
from charkha.kit import telemetry
from charkha.kit.blobs import Blobs
from charkha.kit.crashpoints import crashpoint
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.kit.lineage import Node, link

ACTOR = "job:evaluate.run"
PROGRESS_SECONDS = 1.0
log = telemetry.logger(__name__)


@dataclass
class Work:
    """One evaluation under way. `done` and `total` count examples, once for each version and metric."""

    workspace_id: UUID
    evaluation: Evaluation
    suite: Suite
    examples: Sequence[Example]
    versions: Sequence[EvaluatedVersion]
    known: Mapping[UUID, dict[Metric, Scores]]
    done: int = 0
    total: int = 0

    def advance(self, examples: int) -> None:
        """Count examples that have been measured."""
        self.done += examples

    def lacking(self, metric: Metric, able: Sequence[EvaluatedVersion]) -> list[EvaluatedVersion]:
        """The versions that a metric is still to be measured for; the measured ones are counted as done."""
        missing = [version for version in able if metric not in self.known[version.id]]
        self.total += len(able) * len(self.examples)
        self.done += (len(able) - len(missing)) * len(self.examples)
        return missing


class Evaluator:
    """Carries out evaluations on this machine, with scratch space below `home`."""

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        events: EventLog,
        blobs: Blobs,
        *,
        datasets: Datasets,
        versions: Versions,
        models: ModelFiles,
        answers: Answers,
        home: Path,
        nice: int = 0,
    ) -> None:
        self._database, self._jobs, self._events, self._blobs = database, jobs, events, blobs
        self._datasets, self._versions, self._models = datasets, versions, models
        self._greedy, self._home, self._nice = Greedy(answers), home, nice

    def register(self) -> None:
        """Register the job."""
        self._jobs.task(JOB, self.work, queue="evaluate")

    async def work(self, workspace_id: UUID, *, evaluation_id: str) -> None:
        """Carry out an evaluation, or the rest of it. What went wrong stands in its row; a fault of ours is raised too."""
        work = await self._begin(workspace_id, UUID(evaluation_id))
        if work is None:
            return
        try:
            await self._measure(work)
            await self._finish(work)
        except Unavailable:
            raise  # the database or the store of files is not there: the queue tries again, and little is lost
        except CharkhaError as error:
            log.warning("evaluation.failed", evaluation_id=evaluation_id, reason=str(error))
            await self._fail(work, str(error))
        except Exception as error:
            await self._fail(work, f"Something went wrong inside Charkha ({type(error).__name__}). See its log.")
            raise

    async def _begin(self, workspace_id: UUID, evaluation_id: UUID) -> Work | None:
        async with self._database.workspace(workspace_id, ACTOR) as tx:
            evaluation = await store.claim(tx, evaluation_id)
            if evaluation is None:
                return None
            suite = await store.suite(tx, evaluation.suite_id)
            examples = await self._datasets.examples(tx, suite.dataset_version_id)
            versions = [await self._versions.get(tx, version_id) for version_id in evaluation.versions()]
            known = await store.measured(tx, suite.id, evaluation.versions())
        return Work(workspace_id, evaluation, suite, examples, versions, known)

    async def _measure(self, work: Work) -> None:
        """Measure what is lacking, by likelihood and greedily at once: while the one loads its model the other asks."""
        async with self._reporting(work):
            await _both(self._rank(work), self._ask(work))

    async def _rank(self, work: Work) -> None:
        """By likelihood, where the model's file is on this machine."""
        labels = classes(work.examples)
        metric, _ = metrics(labels)
        files = {version.id: self._file(version) for version in work.versions}
        lacking = work.lacking(metric, [version for version in work.versions if files[version.id]])
        for (file, prompt), versions in _alike(lacking, files).items():
            measurer = Likelihood(self._blobs, self._home / "models", self._scratch(work), nice=self._nice)
            examples = as_asked(work.examples, prompt)
            found = await measurer.measure(work.workspace_id, file, versions, examples, labels, work.advance)
            await self._keep(work, metric, found)

    async def _ask(self, work: Work) -> None:
        """Greedily, where the gateway can call the version."""
        _, metric = metrics(classes(work.examples))
        for version in work.lacking(metric, [version for version in work.versions if version.callable_name]):
            name = version.callable_name or ""
            answers = await self._greedy.measure(work.workspace_id, name, work.examples, metric, work.advance)
            await self._keep(work, metric, {version.id: answers})

    async def _finish(self, work: Work) -> None:
        """Compare, and store the scorecard with its lineage and the news of it, once."""
        evaluation = work.evaluation
        async with self._database.workspace(work.workspace_id, ACTOR) as tx:
            known = await store.measured(tx, work.suite.id, evaluation.versions())
            card = msgspec.to_builtins(_card(work, known))
            if not await store.finish(tx, evaluation.id, "succeeded", scorecard=card, done=work.done, total=work.total):
                return
            made_of = [Node("version", str(each)) for each in evaluation.versions()]
            made_of.append(Node("dataset_version", str(work.suite.dataset_version_id)))
            await link(tx, made_of, Node("evaluation", str(evaluation.id)))
            if evaluation.incumbent_version_id is not None:
                event = ScorecardReady(
                    evaluation_id=evaluation.id,
                    candidate_version_id=evaluation.candidate_version_id,
                    endpoint_id=work.suite.endpoint_id,
                )
                await self._events.emit(tx, event)
            crashpoint("evaluation.before_done")

    async def _fail(self, work: Work, reason: str) -> None:
        async with self._database.workspace(work.workspace_id, ACTOR) as tx:
            await store.finish(tx, work.evaluation.id, "failed", error=reason, done=work.done, total=work.total)

    async def _keep(self, work: Work, metric: Metric, found: Mapping[UUID, Outcome]) -> None:
        async with self._database.workspace(work.workspace_id, ACTOR) as tx:
            for version_id, outcome in found.items():
                await store.add_outcome(tx, work.suite.id, version_id, metric, outcome.scores, outcome.answers)

    @asynccontextmanager
    async def _reporting(self, work: Work) -> AsyncIterator[None]:
        """Store the progress once a second while the block runs."""

        async def report() -> None:
            while True:
                try:
                    async with self._database.workspace(work.workspace_id, ACTOR) as tx:
                        await store.progress(tx, work.evaluation.id, work.done, work.total)
                except Unavailable as error:
                    log.warning("evaluation.progress_missed", reason=str(error))
                await asyncio.sleep(PROGRESS_SECONDS)

        reporting = asyncio.create_task(report())
        try:
            yield
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)

    def _file(self, version: EvaluatedVersion) -> Path | None:
        """The model file that a version is measured on by likelihood; None where that cannot be done here."""
        if version.kind != "base" and version.safetensors_blob is None:
            return None
        try:
            return self._models.gguf(version.base_model)
        except NotFound:
            return None

    def _scratch(self, work: Work) -> Path:
        return self._home / "evaluations" / str(work.evaluation.id)


def _alike(
    versions: Sequence[EvaluatedVersion], files: Mapping[UUID, Path | None]
) -> dict[tuple[Path, str | None], list[EvaluatedVersion]]:
    """Versions by model file and system prompt: those of one group are measured in one process."""
    groups: dict[tuple[Path, str | None], list[EvaluatedVersion]] = defaultdict(list)
    for version in versions:
        if (file := files[version.id]) is not None:
            groups[file, version.system_prompt].append(version)
    return groups


def _card(work: Work, known: Mapping[UUID, Mapping[Metric, Scores]]) -> Card:
    evaluation = work.evaluation
    incumbent = evaluation.incumbent_version_id
    return cards.card(
        metrics(classes(work.examples)),
        [example.label for example in work.examples],
        known[evaluation.candidate_version_id],
        known[incumbent] if incumbent else None,
    )


async def _both(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    """Run both at once; when one fails the other is cancelled, and the failure is raised as it is."""
    tasks = {asyncio.ensure_future(first), asyncio.ensure_future(second)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
