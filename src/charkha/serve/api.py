"""Routes of endpoints, their variants and plans, and of blends of adapters on a live endpoint."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from charkha.govern.access import Access, Caller
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.kit.snapshot import wait_until_served
from charkha.serve.caches.api import CacheIn
from charkha.serve.composition import AdapterUse, Composition, Swapped
from charkha.serve.domain import Endpoint, Plan, Share, Variant
from charkha.serve.ports import Engine
from charkha.serve.routing.bodies import AlternativeIn, RoutingIn
from charkha.serve.service import EndpointService
from charkha.serve.variants import BlendSpec, VariantSpec


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BlendIn(_Body):
    """One part of a blend."""

    version: str = Field(max_length=300, description="A version with adapters: id, name@number or name@alias.")
    weight: float = Field(1.0, ge=-4, le=4, description="How strongly it is blended in.")


class VariantIn(_Body):
    """A way to answer: a version, or a model on an engine with a blend of versions on it."""

    name: str = Field("base", max_length=256, description="What the variant is called, in headers and logs.")
    engine: str | None = Field(None, max_length=100, description="An engine of the settings.")
    model: str | None = Field(None, max_length=300, description="A model of that engine.")
    version: str | None = Field(None, max_length=300, description="A registered version, instead of engine and model.")
    adapters: list[BlendIn] = Field([], max_length=8, description="Adapters to blend on the model.")
    system_prompt: str | None = Field(None, max_length=100_000, description="Said first where a request has none.")
    prompt: str | None = Field(None, max_length=100, description="A version of a prompt, name@number; or its name.")
    parameters: dict[str, Any] = Field({}, description="Defaults such as temperature or max_tokens.")
    alternatives: list[AlternativeIn] = Field([], max_length=8, description="Other ways to answer, if this one cannot.")
    routing: RoutingIn = Field(RoutingIn(), description="How it chooses among its ways, and how long it waits.")

    def spec(self) -> VariantSpec:
        """The same for the service."""
        return msgspec.convert(self.model_dump(), VariantSpec)


class EndpointIn(_Body):
    """An endpoint to make."""

    name: str = Field(max_length=64, description="What applications put into `model`.")
    labels: list[str] | None = Field(None, max_length=1000, description="The answers that are right, if a closed set.")
    keeps_content: bool = Field(True, description="Whether the log keeps requests and answers.")
    variant: VariantIn = Field(description="Who answers at first.")
    cache: CacheIn | None = Field(None, description="Which answers are given again; none, if absent.")


class EndpointPatch(_Body):
    """What can be changed of an endpoint."""

    keeps_content: bool | None = Field(None, description="Whether the log keeps requests and answers from now on.")
    cache: CacheIn | None = Field(None, description="Which answers are given again from now on; null: none.")

    def changes(self) -> dict[str, Any]:
        """What is to be changed, for the service."""
        given: dict[str, Any] = {"keeps_content": self.keeps_content}
        if "cache" in self.model_fields_set:
            given["cache"] = self.cache.policy() if self.cache else None
        return given


class ShareIn(_Body):
    """A variant's part of the traffic."""

    variant_id: UUID
    share: int = Field(ge=0, le=100, description="Per cent.")


class PlanIn(_Body):
    """A plan to make live. The last share is the candidate's: its users stay its users while it grows."""

    expected_plan_id: UUID = Field(description="The plan that you believe to be live; another one is a conflict.")
    shares: list[ShareIn] = Field(min_length=1, max_length=16, description="100 per cent in all.")
    reason: str = Field("set by hand", max_length=1000, description="For whoever reads the history.")


class SwapIn(_Body):
    """A blend to answer with, from now on, at an endpoint."""

    endpoint: str = Field(max_length=64, description="Name or id.")
    adapters: list[BlendIn] = Field(max_length=8, description="The blend; none is the base model alone.")
    name: str = Field("blend", max_length=256, description="What the new variant is called.")
    expected_plan_id: UUID | None = Field(None, description="Refuse if another plan is live.")
    reason: str = Field("composition swapped", max_length=1000, description="For whoever reads the history.")


def router(service: EndpointService, engines: Mapping[str, Engine], access: Access, database: Database) -> Router:
    """The routes, bound to their services."""
    api = Router(tags=["endpoints"])
    _endpoints(api, service, access, database)
    _plans(api, service, access, database)
    _composition(api, Composition(service, engines), access, database)
    return api


def _endpoints(api: Router, service: EndpointService, access: Access, database: Database) -> None:
    @api.post("/endpoints", status_code=201)
    async def create_endpoint(body: EndpointIn, caller: Caller = access.require("endpoint.write")) -> Endpoint:
        """Make an endpoint with its first variant; it can be called when this answers."""
        async with caller.transaction() as tx:
            made = await service.create(
                tx,
                name=body.name,
                labels=body.labels,
                keeps_content=body.keeps_content,
                variant=body.variant.spec(),
                cache=body.cache.policy() if body.cache else None,
            )
        await wait_until_served(database, made.served_from or 0)
        return made

    @api.get("/endpoints")
    async def list_endpoints(
        variants: Literal["none", "live"] = Query("none", description="With each one's live plan and its variants."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("endpoint.read"),
    ) -> Page[Endpoint]:
        """The workspace's endpoints, newest first; with `variants=live` each with its live plan and what that names."""
        async with caller.transaction() as tx:
            return await service.listed(tx, live=variants == "live", after=after, limit=limit)

    @api.get("/endpoints/{name_or_id}")
    async def get_endpoint(
        name_or_id: str,
        variants: Literal["all", "live"] = Query("all", description="All that it has had, or its live plan's alone."),
        caller: Caller = access.require("endpoint.read"),
    ) -> Endpoint:
        """An endpoint with its live plan and its variants."""
        async with caller.transaction() as tx:
            return await service.get(tx, name_or_id, only_live=variants == "live")

    @api.patch("/endpoints/{name_or_id}")
    async def update_endpoint(
        name_or_id: str, body: EndpointPatch, caller: Caller = access.require("endpoint.write")
    ) -> Endpoint:
        """Say whether the log keeps content, and which answers are given again; it is so when this answers."""
        async with caller.transaction() as tx:
            changed = await service.update(tx, name_or_id, **body.changes())
        await wait_until_served(database, changed.served_from or 0)
        return changed

    @api.delete("/endpoints/{name_or_id}")
    async def delete_endpoint(name_or_id: str, caller: Caller = access.require("endpoint.write")) -> dict[str, Any]:
        """Take an endpoint away; its log stays."""
        async with caller.transaction() as tx:
            version = await service.delete(tx, name_or_id)
        return {"deleted": name_or_id, "gateways": await wait_until_served(database, version)}


def _plans(api: Router, service: EndpointService, access: Access, database: Database) -> None:
    @api.post("/endpoints/{name_or_id}/variants", status_code=201)
    async def add_variant(
        name_or_id: str, body: VariantIn, caller: Caller = access.require("endpoint.write")
    ) -> Variant:
        """Add a variant; it gets no traffic until a plan names it."""
        async with caller.transaction() as tx:
            return await service.put_variant(tx, name_or_id, body.spec())

    @api.get("/endpoints/{name_or_id}/variants")
    async def list_variants(
        name_or_id: str,
        ids: list[UUID] | None = Query(None, alias="id", max_length=500, description="Of these; may be repeated."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("endpoint.read"),
    ) -> Page[Variant]:
        """The variants that an endpoint has had, newest first."""
        async with caller.transaction() as tx:
            return await service.variants(tx, name_or_id, ids=ids, after=after, limit=limit)

    @api.get("/endpoints/{name_or_id}/plans")
    async def list_plans(
        name_or_id: str,
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("endpoint.read"),
    ) -> Page[Plan]:
        """The plans that an endpoint has had, newest first."""
        async with caller.transaction() as tx:
            return await service.plans(tx, name_or_id, after=after, limit=limit)

    @api.put("/endpoints/{name_or_id}/plan")
    async def put_plan(name_or_id: str, body: PlanIn, caller: Caller = access.require("release.promote")) -> Plan:
        """Move an endpoint to another plan; every gateway serves it when this answers."""
        shares = [Share(each.variant_id, each.share) for each in body.shares]
        async with caller.transaction() as tx:
            endpoint_id = await service.resolve(tx, name_or_id)
            plan = await service.swap(
                tx, endpoint_id, expected_plan_id=body.expected_plan_id, shares=shares, reason=body.reason
            )
        await wait_until_served(database, plan.served_from or 0)
        return plan


def _composition(api: Router, composition: Composition, access: Access, database: Database) -> None:
    @api.post("/composition/swap")
    async def swap_composition(body: SwapIn, caller: Caller = access.require("release.promote")) -> Swapped:
        """Answer with another blend of adapters from now on; requests that are running end as they began."""
        parts = [BlendSpec(part.version, part.weight) for part in body.adapters]
        async with caller.transaction() as tx:
            swapped = await composition.swap(
                tx, body.endpoint, parts, name=body.name, expected_plan_id=body.expected_plan_id, reason=body.reason
            )
        await wait_until_served(database, swapped.plan.served_from or 0)
        return swapped

    @api.get("/composition/stats")
    async def composition_stats(
        endpoint: str | None = Query(None, max_length=64, description="Of this endpoint only: its name or id."),
        caller: Caller = access.require("adapter.read"),
    ) -> list[AdapterUse]:
        """Which adapters answer where, with which weight and share, and whether they are warm."""
        warm = await composition.warm()
        async with caller.transaction() as tx:
            return await composition.stats(tx, warm, endpoint=endpoint)
