"""Routes of caches: what each endpoint's cache did, and forgetting what is kept."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from charkha.core.clock import now
from charkha.core.errors import Invalid
from charkha.govern.access import Access, Caller
from charkha.kit.db import Database, Tx
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.kit.snapshot import wait_until_served
from charkha.serve.caches.policy import CachePolicy, SemanticPolicy
from charkha.serve.domain import Endpoint
from charkha.serve.ports import CacheFigures
from charkha.serve.service import EndpointService

Figures = Callable[[Tx, Sequence[str], date, date], Awaitable[Mapping[str, CacheFigures]]]
SPAN, MOST_DAYS = timedelta(days=30), 400


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SemanticIn(_Body):
    """Also answer what asks alike."""

    engine: str = Field(max_length=100, description="An engine that makes embeddings.")
    model: str = Field(max_length=300, description="Its embedding model.")
    threshold: float = Field(0.95, description="The cosine that counts as alike, 0.5 to 1.")


class CacheIn(_Body):
    """Which answers of an endpoint are given again."""

    seconds: int = Field(description="How long, 1 to 2592000.")
    max_temperature: float = Field(0.3, description="Requests above it are left alone; none named counts as 1.")
    tools: bool = Field(False, description="Also requests with tools.")
    semantic: SemanticIn | None = Field(None, description="Also what asks alike.")

    def policy(self) -> CachePolicy:
        """The same for the service."""
        semantic = SemanticPolicy(**self.semantic.model_dump()) if self.semantic else None
        return CachePolicy(self.seconds, self.max_temperature, self.tools, semantic)


class ClearIn(_Body):
    """What is to be forgotten."""

    endpoint: str | None = Field(None, max_length=64, description="Name or id; every endpoint's, if absent.")


class CacheUse(msgspec.Struct, frozen=True):
    """An endpoint's cache and what it did in some days: answers given again, looks in vain, their ratio, money saved.

    `saved` is in micro-units, by currency; `cache` None where answers are not given again now.
    """

    id: UUID
    endpoint: str
    cache: CachePolicy | None
    hits: int
    misses: int
    hit_rate: float | None
    saved: Mapping[str, int]


def router(service: EndpointService, figures: Figures, access: Access, database: Database) -> Router:
    """The routes, bound to their services."""
    api = Router(tags=["caches"])

    @api.get("/caches")
    async def list_caches(
        since: date | None = Query(None, description="First day (UTC); 30 days before the last, if absent."),
        until: date | None = Query(None, description="Last day; today, if absent."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("endpoint.read"),
    ) -> Page[CacheUse]:
        """The workspace's endpoints, newest first, each with its cache, its hits and what they saved."""
        last = until or now().date()
        first = since or last - SPAN
        if not timedelta(0) <= last - first <= timedelta(days=MOST_DAYS):
            raise Invalid(f"Ask for 1 to {MOST_DAYS} days.", remedy="Choose `since` and `until`.", param="since")
        async with caller.transaction() as tx:
            found = await service.listed(tx, after=after, limit=limit)
            told = await figures(tx, [each.name for each in found.data], first, last)
        return Page([_use(each, told.get(each.name, CacheFigures())) for each in found.data], found.next)

    @api.post("/caches/clear")
    async def clear_caches(body: ClearIn, caller: Caller = access.require("endpoint.write")) -> dict[str, Any]:
        """Forget every answer that an endpoint, or the workspace, would give again; done everywhere when this answers."""
        async with caller.transaction() as tx:
            version = await service.clear_caches(tx, body.endpoint)
        return {"cleared": body.endpoint, "gateways": await wait_until_served(database, version)}

    return api


def _use(endpoint: Endpoint, told: CacheFigures) -> CacheUse:
    looks = told.hits + told.misses
    rate = told.hits / looks if looks else None
    return CacheUse(endpoint.id, endpoint.name, endpoint.cache, told.hits, told.misses, rate, told.saved)
