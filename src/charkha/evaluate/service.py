"""Suites and evaluations as people and the loop see them: what is measured on what, and what came of it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.errors import Conflict, Invalid, NotFound
from charkha.core.events import VersionRegistered
from charkha.core.ids import uuid7
from charkha.evaluate import store
from charkha.evaluate.domain import Verdict
from charkha.evaluate.ports import Datasets, Endpoints, Incumbents, Versions
from charkha.evaluate.store import Evaluation, Status, Suite
from charkha.govern import audit
from charkha.kit import telemetry
from charkha.kit.db import Tx
from charkha.kit.jobs import Jobs
from charkha.kit.locks import exclusively
from charkha.kit.paging import Page

JOB = "evaluate.run"
LONGEST_NAME = 200
log = telemetry.logger(__name__)


class Judged(msgspec.Struct, frozen=True):
    """The scorecard of a finished evaluation, as far as a release needs it.

    `difference` is candidate − incumbent as they answer by themselves where that was measured, else of the headline.
    """

    evaluation_id: UUID
    endpoint_id: UUID
    candidate_version_id: UUID
    incumbent_version_id: UUID | None
    verdict: Verdict
    summary: str
    difference: float | None


class SuiteService:
    """Suites of the transaction's workspace."""

    def __init__(self, datasets: Datasets, endpoints: Endpoints) -> None:
        self._datasets, self._endpoints = datasets, endpoints

    async def create(self, tx: Tx, *, name: str, endpoint_id: UUID, dataset_version_id: UUID) -> Suite:
        """Measure an endpoint's versions on a data set version from now on.

        Raises NotFound for an unknown endpoint or version, Invalid for a bad name or no examples, Conflict for a name
        that is taken.
        """
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise Invalid(
                f"A suite's name has 1 to {LONGEST_NAME} printable characters.",
                remedy="Give such a name.",
                param="name",
            )
        await self._endpoints.resolve(tx, str(endpoint_id))
        if (await self._datasets.version(tx, dataset_version_id)).examples == 0:
            raise Invalid("The data set version has no examples.", remedy="Give one that has some.", code="empty_data")
        values = {"name": name, "endpoint_id": endpoint_id, "dataset_version_id": dataset_version_id}
        suite_id = uuid7()
        if not await store.add_suite(tx, id=suite_id, **values):
            raise Conflict(f"There is a suite '{name}' already.", param="name", remedy="Choose another name.")
        await audit.record(tx, "suite.created", "suite", suite_id, name=name, endpoint=str(endpoint_id))
        return await store.suite(tx, suite_id)

    async def get(self, tx: Tx, suite_id: UUID) -> Suite:
        """A suite. Raises NotFound."""
        return await store.suite(tx, suite_id)

    async def listed(
        self, tx: Tx, *, dataset_version_id: UUID | None = None, after: UUID | None = None, limit: int = 50
    ) -> Page[Suite]:
        """The workspace's suites, newest first: those that hold one data set version out, if given."""
        return await store.listed_suites(tx, dataset_version_id=dataset_version_id, after=after, limit=limit)

    async def of_endpoint(self, tx: Tx, endpoint_id: UUID) -> Suite | None:
        """The suite that an endpoint's candidates are measured on: its newest."""
        return next(iter(await store.suites_of(tx, endpoint_id)), None)

    async def held_out_hashes(self, tx: Tx, endpoint_id: UUID) -> set[bytes]:
        """The text hashes of every suite of an endpoint: what must never be learned from."""
        hashes: set[bytes] = set()
        for suite in await store.suites_of(tx, endpoint_id):
            hashes |= await self._datasets.text_hashes(tx, suite.dataset_version_id)
        return hashes


class EvaluationService:
    """Evaluations of the transaction's workspace."""

    def __init__(self, jobs: Jobs, suites: SuiteService, versions: Versions, incumbents: Incumbents) -> None:
        self._jobs, self._suites, self._versions, self._incumbents = jobs, suites, versions, incumbents

    async def request(
        self, tx: Tx, *, suite_id: UUID, candidate_version_id: UUID, incumbent_version_id: UUID | None = None
    ) -> Evaluation:
        """Queue an evaluation, or return the one of the same versions that is under way.

        Raises NotFound for an unknown suite or version, Invalid for a version that is compared with itself.
        """
        if candidate_version_id == incumbent_version_id:
            raise Invalid(
                "A version is not compared with itself.", param="incumbent_version_id", remedy="Leave it out."
            )
        await self._suites.get(tx, suite_id)
        wanted = {"candidate_version_id": candidate_version_id, "incumbent_version_id": incumbent_version_id}
        for version_id in filter(None, wanted.values()):
            await self._versions.get(tx, version_id)
        await exclusively(tx, f"evaluate:{suite_id}")
        found = await store.active(tx, suite_id, candidate_version_id, incumbent_version_id)
        if found is not None:
            return await store.get(tx, found)
        evaluation_id = uuid7()
        await store.add(tx, id=evaluation_id, suite_id=suite_id, **wanted)
        await audit.record(tx, "evaluation.requested", "evaluation", evaluation_id, suite=str(suite_id))
        await self._jobs.defer(tx, JOB, lock=f"evaluate:{tx.workspace_id}:{suite_id}", evaluation_id=str(evaluation_id))
        return await store.get(tx, evaluation_id)

    async def score(self, tx: Tx, event: VersionRegistered) -> None:
        """A candidate is registered: measure it beside what its endpoint serves, if the endpoint has a suite."""
        if event.endpoint_id is None:
            return
        suite = await self._suites.of_endpoint(tx, event.endpoint_id)
        if suite is None:
            log.warning("evaluation.no_suite", endpoint_id=str(event.endpoint_id), version_id=str(event.version_id))
            return
        try:
            incumbent = await self._incumbents.of(tx, event.endpoint_id)
        except NotFound as error:
            log.warning("evaluation.nowhere", version_id=str(event.version_id), reason=str(error))
            return
        await self.request(
            tx,
            suite_id=suite.id,
            candidate_version_id=event.version_id,
            incumbent_version_id=incumbent if incumbent != event.version_id else None,
        )

    async def get(self, tx: Tx, evaluation_id: UUID) -> Evaluation:
        """An evaluation. Raises NotFound."""
        return await store.get(tx, evaluation_id)

    async def listed(
        self,
        tx: Tx,
        *,
        suite_id: UUID | None = None,
        candidates: Sequence[UUID] = (),
        status: Status | None = None,
        newest: bool = False,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[Evaluation]:
        """The workspace's evaluations, newest first, that match everything given: of each candidate the newest alone."""
        chosen: dict[str, Any] = {"suite_id": suite_id, "candidates": candidates, "status": status, "newest": newest}
        return await store.listed(tx, **chosen, after=after, limit=limit)

    async def scorecard(self, tx: Tx, evaluation_id: UUID) -> Judged:
        """What a finished evaluation says. Raises NotFound, also for one that has no scorecard."""
        found = await store.get(tx, evaluation_id)
        if found.scorecard is None:
            raise NotFound(f"The evaluation is {found.status} and has no scorecard.", remedy="Wait until it has ended.")
        suite = await store.suite(tx, found.suite_id)
        card = found.scorecard
        versions = (found.candidate_version_id, found.incumbent_version_id)
        difference = (card["greedy"] or card)["difference"]
        return Judged(found.id, suite.endpoint_id, *versions, card["verdict"], card["summary"], difference)
