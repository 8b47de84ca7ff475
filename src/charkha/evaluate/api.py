"""Routes of suites and evaluations."""

from typing import Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from charkha.evaluate.service import EvaluationService, SuiteService
from charkha.evaluate.store import Evaluation, Status, Suite
from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.kit.paging import Page

MOST_CANDIDATES = 500


class SuiteIn(BaseModel):
    """A suite to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200, description="What the suite is called.")
    endpoint_id: UUID = Field(description="The endpoint whose candidates are measured on it by themselves.")
    dataset_version_id: UUID = Field(description="The held-out examples; they are never learned from.")


class EvaluationIn(BaseModel):
    """An evaluation to queue."""

    model_config = ConfigDict(extra="forbid")

    suite_id: UUID = Field(description="What to measure on.")
    candidate_version_id: UUID = Field(description="The version to measure.")
    incumbent_version_id: UUID | None = Field(None, description="The version to compare it with.")


def router(suites: SuiteService, evaluations: EvaluationService, access: Access) -> Router:
    """The routes, bound to their services."""
    api = Router(tags=["evaluation"])

    @api.post("/suites", status_code=201)
    async def create_suite(body: SuiteIn, caller: Caller = access.require("evaluation.write")) -> Suite:
        """Measure an endpoint's candidates on a data set version from now on."""
        async with caller.transaction() as tx:
            return await suites.create(tx, **body.model_dump())

    @api.get("/suites")
    async def list_suites(
        dataset_version_id: UUID | None = None,
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("evaluation.read"),
    ) -> Page[Suite]:
        """The workspace's suites, newest first: those that hold one data set version out, if given."""
        async with caller.transaction() as tx:
            return await suites.listed(tx, dataset_version_id=dataset_version_id, after=after, limit=limit)

    @api.post("/evaluations", status_code=201)
    async def request_evaluation(body: EvaluationIn, caller: Caller = access.require("evaluation.write")) -> Evaluation:
        """Measure a version on a suite, and compare it with another where one is named."""
        async with caller.transaction() as tx:
            return await evaluations.request(tx, **body.model_dump())

    @api.get("/evaluations")
    async def list_evaluations(
        suite_id: UUID | None = None,
        candidate_version_id: list[UUID] = Query([], max_length=MOST_CANDIDATES, description="Of these versions only."),
        status: Status | None = None,
        newest: bool = Query(False, description="Of each version the newest only."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("evaluation.read"),
    ) -> Page[Evaluation]:
        """The workspace's evaluations, newest first."""
        chosen: dict[str, Any] = {"suite_id": suite_id, "candidates": candidate_version_id}
        chosen |= {"status": status, "newest": newest}
        async with caller.transaction() as tx:
            return await evaluations.listed(tx, **chosen, after=after, limit=limit)

    @api.get("/evaluations/{evaluation_id}")
    async def get_evaluation(evaluation_id: UUID, caller: Caller = access.require("evaluation.read")) -> Evaluation:
        """One evaluation: its progress while it runs, its scorecard when it has ended."""
        async with caller.transaction() as tx:
            return await evaluations.get(tx, evaluation_id)

    return api
