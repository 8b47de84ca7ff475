"""Routes of releases, and the one that rolls an endpoint back."""

import time
from typing import Any
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from charkha.govern.access import Access, Caller
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.kit.snapshot import wait_until_served
from charkha.release.ports import EndpointNames
from charkha.release.rollouts.domain import Release, Rollout, Rules, Status
from charkha.release.rollouts.service import RolloutService


class ReasonIn(BaseModel):
    """Why something is done; it stands in the audit trail."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=1000, description="Why; kept with the decision.")


class ReleaseIn(BaseModel):
    """A rollout to begin by hand."""

    model_config = ConfigDict(extra="forbid")
    endpoint: str = Field(max_length=200, description="The endpoint's name or id.")
    version: str = Field(max_length=300, description="An id, name@number or name@alias.")
    steps: list[int] | None = Field(
        None, max_length=20, description="Percents that rise to 100, e.g. [1, 10, 50, 100]."
    )
    alpha: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Bound of the probability of a false verdict, at each step; by default the setting's.",
    )
    minimum: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Fewest scored candidate outcomes for 'better', at each step; by default the setting's.",
    )
    slow_ms: float | None = Field(
        None,
        gt=0,
        description="From how many milliseconds on an answer is slow; by default from the baseline's recent p95.",
    )
    reason: str = Field("begun by hand", min_length=1, max_length=1000, description="Why; kept with the decision.")


def _rules(body: ReleaseIn, usual: Rules) -> Rules:
    """The usual rules, but for what the body says."""
    said = body.model_dump(include={"alpha", "minimum", "slow_ms"}, exclude_none=True)
    return msgspec.structs.replace(usual, **said)


def router(rollouts: RolloutService, endpoints: EndpointNames, access: Access, database: Database) -> Router:
    """The routes, bound to their services."""
    api = Router(tags=["release"])
    _reading(api, rollouts, endpoints, access)
    _acting(api, rollouts, endpoints, access)
    _rolling_back(api, rollouts, endpoints, access, database)
    return api


def _reading(api: Router, rollouts: RolloutService, endpoints: EndpointNames, access: Access) -> None:
    @api.get("/releases")
    async def list_releases(
        endpoint: str | None = Query(None, max_length=200, description="Of this endpoint only: its name or id."),
        candidate: str | None = Query(
            None, max_length=300, description="Of this version only: an id, name@number or name@alias."
        ),
        status: Status | None = None,
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("release.read"),
    ) -> Page[Rollout]:
        """The workspace's rollouts, newest first, with those that evidence declined."""
        async with caller.transaction() as tx:
            chosen: dict[str, Any] = {
                "endpoint_id": None if endpoint is None else await endpoints.resolve(tx, endpoint),
                "candidate": candidate,
                "status": status,
            }
            return await rollouts.listed(tx, **chosen, after=after, limit=limit)

    @api.get("/releases/{release_id}")
    async def get_release(release_id: UUID, caller: Caller = access.require("release.read")) -> Release:
        """A rollout with every decision about it and the evidence that each stood on."""
        async with caller.transaction() as tx:
            return await rollouts.get(tx, release_id)


def _acting(api: Router, rollouts: RolloutService, endpoints: EndpointNames, access: Access) -> None:
    @api.post("/releases", status_code=201)
    async def begin_release(body: ReleaseIn, caller: Caller = access.require("release.promote")) -> Rollout:
        """Begin a rollout of a version by hand. Live traffic judges it, step by step."""
        async with caller.transaction() as tx:
            return await rollouts.begin(
                tx,
                await endpoints.resolve(tx, body.endpoint),
                body.version,
                reason=body.reason,
                steps=body.steps,
                rules=_rules(body, rollouts.rules),
            )

    @api.post("/releases/{release_id}/promote")
    async def promote_release(
        release_id: UUID, body: ReasonIn, caller: Caller = access.require("release.promote")
    ) -> Rollout:
        """Give a running candidate all traffic without waiting for evidence. Audited as an override."""
        async with caller.transaction() as tx:
            return await rollouts.promote(tx, release_id, body.reason)

    @api.post("/releases/{release_id}/cancel")
    async def cancel_release(
        release_id: UUID, body: ReasonIn, caller: Caller = access.require("release.promote")
    ) -> Rollout:
        """End a rollout; its baseline has all traffic again."""
        async with caller.transaction() as tx:
            return await rollouts.cancel(tx, release_id, body.reason)


def _rolling_back(
    api: Router, rollouts: RolloutService, endpoints: EndpointNames, access: Access, database: Database
) -> None:
    @api.post("/endpoints/{endpoint}/rollback")
    async def roll_back(
        endpoint: str, body: ReasonIn | None = None, caller: Caller = access.require("release.promote")
    ) -> dict[str, Any]:
        """Go back to what served before the newest release, and wait until every gateway process serves it."""
        begun = time.monotonic()
        async with caller.transaction() as tx:
            endpoint_id = await endpoints.resolve(tx, endpoint)
            done = await rollouts.rollback(tx, endpoint_id, body.reason if body else "rolled back by hand")
        gateways = await wait_until_served(database, done.version)
        return {"rollback": done, "gateways": gateways, "milliseconds": round(1000 * (time.monotonic() - begun), 1)}
