"""Routes of training runs, live progress among them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.learn.recipes.catalogue import Recipe, recipes
from charkha.learn.runs.domain import ENDED, Log, Point, Run, Status
from charkha.learn.runs.service import RunService

MOST_VERSIONS = 500
_LOOK_SECONDS = 0.5
_LOOKS_PER_COMMENT = 30


class RunIn(BaseModel):
    """A run to queue."""

    model_config = ConfigDict(extra="forbid")

    endpoint_id: UUID = Field(description="The endpoint that the candidate is for.")
    dataset_version_id: UUID = Field(description="What to learn from.")
    recipe: str = Field("sft", max_length=100, description="How to learn.")
    config: dict[str, Any] = Field(default_factory=dict, description="The recipe's configuration; defaults are good.")
    seed: int = Field(0, ge=0, lt=2**31, description="The same seed, data and configuration give the same steps.")


def router(runs: RunService, access: Access) -> Router:
    """The routes, bound to their service."""
    api = Router(tags=["runs"])

    _asking(api, runs, access)
    _reading(api, runs, access)
    _watching(api, runs, access)
    return api


def _asking(api: Router, runs: RunService, access: Access) -> None:
    @api.post("/runs", status_code=201)
    async def request_run(body: RunIn, caller: Caller = access.require("run.write")) -> Run:
        """Queue a training run."""
        async with caller.transaction() as tx:
            return await runs.request(tx, **body.model_dump())

    @api.post("/runs/{run_id}/cancel")
    async def cancel_run(run_id: UUID, caller: Caller = access.require("run.write")) -> Run:
        """Cancel a run."""
        async with caller.transaction() as tx:
            return await runs.cancel(tx, run_id)

    @api.post("/runs/{run_id}/resume")
    async def resume_run(run_id: UUID, caller: Caller = access.require("run.write")) -> Run:
        """Take up a failed or cancelled run where it was."""
        async with caller.transaction() as tx:
            return await runs.resume(tx, run_id)


def _reading(api: Router, runs: RunService, access: Access) -> None:
    @api.get("/runs")
    async def list_runs(
        endpoint_id: UUID | None = None,
        dataset_version_id: list[UUID] = Query([], max_length=MOST_VERSIONS, description="Of these; may be repeated."),
        status: Status | None = None,
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("run.read"),
    ) -> Page[Run]:
        """The workspace's runs, newest first."""
        about: dict[str, Any] = {"endpoint_id": endpoint_id, "dataset_version_ids": dataset_version_id}
        async with caller.transaction() as tx:
            return await runs.listed(tx, **about, status=status, after=after, limit=limit)

    @api.get("/recipes")
    async def list_recipes(caller: Caller = access.require("run.read")) -> list[Recipe]:
        """How can be learned here, and the JSON schema of each recipe's configuration."""
        return recipes()

    @api.get("/runs/{run_id}")
    async def get_run(run_id: UUID, caller: Caller = access.require("run.read")) -> Run:
        """One run."""
        async with caller.transaction() as tx:
            return await runs.get(tx, run_id)


def _watching(api: Router, runs: RunService, access: Access) -> None:
    @api.get("/runs/{run_id}/points")
    async def list_points(
        run_id: UUID,
        after_step: int = -1,
        most: int | None = Query(None, ge=2, le=5000, description="All of it in so many points: means of neighbours."),
        caller: Caller = access.require("run.read"),
    ) -> list[Point]:
        """The run's curve: at most 5,000 points after a step, or the whole in `most` points."""
        async with caller.transaction() as tx:
            return await runs.points(tx, run_id, after_step=after_step, most=most)

    @api.get("/runs/{run_id}/log")
    async def get_log(
        run_id: UUID,
        after: int = Query(0, ge=0, lt=2**31, description="The number of the last line that is known."),
        limit: int = Query(500, ge=1, le=1000),
        last: int | None = Query(None, ge=1, le=1000, description="So many lines from its end, instead of `limit`."),
        caller: Caller = access.require("run.read"),
    ) -> Log:
        """The run's log, as it is written: what its worker did, its recipe's reports in words, and standard error."""
        async with caller.transaction() as tx:
            return await runs.log(tx, run_id, after=after, limit=limit, last=last)

    @api.get("/runs/{run_id}/events")
    async def follow_run(run_id: UUID, caller: Caller = access.require("run.read")) -> StreamingResponse:
        """Live progress as server-sent events: `progress` with {"run", "points"} at each change, `end` with the last."""
        async with caller.transaction() as tx:
            await runs.get(tx, run_id)
        return StreamingResponse(_followed(runs, caller, run_id), media_type="text/event-stream")


async def _followed(runs: RunService, caller: Caller, run_id: UUID) -> AsyncIterator[bytes]:
    """A run's changes until it has ended."""
    seen: Run | None = None
    last_step, looks = -1, 0
    while seen is None or seen.status not in ENDED:
        async with caller.transaction() as tx:
            run = await runs.get(tx, run_id)
            points = await runs.points(tx, run_id, after_step=last_step)
        if run != seen or points:
            seen, looks = run, 0
            last_step = points[-1].step if points else last_step
            yield _event("end" if run.status in ENDED else "progress", run, points)
        elif (looks := looks + 1) % _LOOKS_PER_COMMENT == 0:
            yield b": still here\n\n"  # keeps proxies from closing a quiet stream, and finds a reader that has left
        if run.status not in ENDED:
            await asyncio.sleep(_LOOK_SECONDS)


def _event(name: str, run: Run, points: list[Point]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode({"run": run, "points": points}))
