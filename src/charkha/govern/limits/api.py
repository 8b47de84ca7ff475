"""Routes of limits."""

from typing import Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from charkha.govern.access import Access, Caller
from charkha.govern.limits.domain import Measure, Subject, Window
from charkha.govern.limits.service import MOST, LimitService, LimitState
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.kit.snapshot import wait_until_served


class LimitIn(BaseModel):
    """A limit to make."""

    subject: Subject = Field(description="What is limited: the key `key_id`, this workspace, or its organisation.")
    key_id: UUID | None = Field(None, description="The key, where a key is limited.")
    measure: Measure = Field(description="What is counted.")
    window: Window = Field("total", description="How often it begins anew, by the calendar in UTC; concurrency: total.")
    amount: int = Field(ge=0, le=MOST, description="Requests, tokens, permits, or millionths of the currency.")
    currency: str | None = Field(None, max_length=3, description="For money, such as EUR.")


class AmountIn(BaseModel):
    """A limit's new amount."""

    amount: int = Field(ge=0, le=MOST)


def router(limits: LimitService, access: Access, database: Database) -> Router:
    """The routes, bound to their service. A change is served by every gateway process when it is answered."""
    api = Router(tags=["govern"])

    @api.post("/limits", status_code=201)
    async def create_limit(body: LimitIn, caller: Caller = access.require("limit.manage")) -> LimitState:
        """Limit a key, the workspace or the organisation (which its owner may)."""
        async with caller.transaction() as tx:
            made, version = await limits.create(tx, caller.principal, **body.model_dump())
        await wait_until_served(database, version)
        return made

    @api.get("/limits")
    async def list_limits(
        subject_id: UUID | None = None,
        subject: Subject | None = Query(None, description="Only of keys, of the workspace, or of the organisation."),
        measure: Measure | None = Query(None, description="Only of this measure."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("limit.read"),
    ) -> Page[LimitState]:
        """The limits that are kept in this workspace, newest first, each with what is spent, held and left of it."""
        async with caller.transaction() as tx:
            return await limits.listed(
                tx, subject_id=subject_id, subject=subject, measure=measure, after=after, limit=limit
            )

    @api.get("/limits/{limit_id}")
    async def get_limit(limit_id: UUID, caller: Caller = access.require("limit.read")) -> LimitState:
        """One limit with what is left of it."""
        async with caller.transaction() as tx:
            return await limits.get(tx, limit_id)

    @api.patch("/limits/{limit_id}")
    async def change_limit(
        limit_id: UUID, body: AmountIn, caller: Caller = access.require("limit.manage")
    ) -> LimitState:
        """Give a limit another amount."""
        async with caller.transaction() as tx:
            changed, version = await limits.change(tx, caller.principal, limit_id, body.amount)
        await wait_until_served(database, version)
        return changed

    @api.delete("/limits/{limit_id}")
    async def delete_limit(limit_id: UUID, caller: Caller = access.require("limit.manage")) -> dict[str, Any]:
        """Remove a limit."""
        async with caller.transaction() as tx:
            version = await limits.delete(tx, caller.principal, limit_id)
        return {"deleted": limit_id, "gateways": await wait_until_served(database, version)}

    return api
