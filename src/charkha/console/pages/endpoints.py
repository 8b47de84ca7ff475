"""Endpoints and engines: what answers under each name, and one endpoint with its plan, variants, policy and history."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import saving
from charkha.console.listing import Listing
from charkha.console.live import Fragments
from charkha.console.names import NEWEST, actor_names, found_or_none, listed, part, version_names
from charkha.console.pages import endpoint_changes, engine_states
from charkha.console.site import Site, Visitor
from charkha.core.clock import now

_PERMISSION = "endpoint.read"
_SHOWN, _OFFERED, _MOST = 10, 50, 500
_ENDPOINT = ("id", "name", "labels", "keeps_content", "cache", "live_plan_id", "created_at")
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_LISTING = Listing("/endpoints", columns=_ENDPOINT, fixed={"variants": "live"})
_VARIANT = (
    "id",
    "name",
    "engine",
    "model",
    "version_id",
    "adapters",
    "system_prompt",
    "parameters",
    "prompt",
    "alternatives",
    "routing",
    "created_at",
)
_PLAN = ("id", "number", "shares", "reason", "actor", "previous_id", "created_at")
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The pages, and the changes that their forms ask for."""
    page = site.router()
    _all(page, site)
    _one(page, site)
    _histories(page, site)
    endpoint_changes.add(page, site)
    engine_states.add(page, site)
    return page


def _all(page: APIRouter, site: Site) -> None:
    @page.get("/w/{workspace}/endpoints")
    async def overview(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        found, status, stats = await asyncio.gather(
            _LISTING.page(visitor), _status(visitor), _stats(visitor, _HOUR, None)
        )
        policies = await _policies(visitor, [each["id"] for each in found["data"]])
        for each in found["data"]:
            each |= {"shares": _shares(each["plan"]), "called": {one["id"]: one["name"] for one in each["variants"]}}
        values = {"page": found, "status_now": status, "traffic": _by(stats, "endpoint_id"), "policies": policies}
        return site.render(visitor, "pages/endpoints.html", **values)

    @page.get("/w/{workspace}/live/endpoints")
    async def engines(visitor: Visitor = site.visitor("system.read")) -> Response:
        async def make() -> Fragments:
            status = await visitor.api.get("/status")
            return {"engines": site.html(visitor, "pages/endpoints_engines.html", status_now=status)}

        return site.stream(visitor, make)

    @page.get("/w/{workspace}/endpoints/-/new")
    async def new(visitor: Visitor = site.visitor("endpoint.write")) -> Response:
        return site.render(visitor, "pages/endpoint_new.html", **await _offers(visitor))


def _one(page: APIRouter, site: Site) -> None:
    @page.get("/w/{workspace}/endpoints/{reference}")
    async def detail(reference: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        endpoint = await _endpoint(visitor, reference)
        path = f"/endpoints/{endpoint['id']}"
        live, others, plans, policy = await asyncio.gather(
            _live(visitor, endpoint),
            visitor.api.get(f"{path}/variants", limit=_SHOWN),
            visitor.api.get(f"{path}/plans", limit=_SHOWN),
            _policy(visitor, endpoint["id"]),
        )
        newest = [each for each in others["data"] if each["id"] not in live["shares"]]
        named = await _named(visitor, endpoint, newest, plans["data"])
        values = {"others": newest, "more": others["next"], "plans": plans, "policy": policy, **named}
        values["lasting"] = saving.lasting
        values["resting"] = [each for each in endpoint["variants"] if not live["shares"][each["id"]]] + newest
        return site.render(visitor, "pages/endpoint.html", **live | values)

    @page.get("/w/{workspace}/live/endpoints/{endpoint}")
    async def moving(endpoint: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        async def make() -> Fragments:
            live = await _live(visitor, await _endpoint(visitor, endpoint))
            named = await _named(visitor, live["endpoint"], [], [])
            return {"live": site.html(visitor, "pages/endpoint_live.html", **live | named)}

        return site.stream(visitor, make)

    @page.get("/w/{workspace}/endpoints/{reference}/variants/new")
    async def another(reference: str, visitor: Visitor = site.visitor("endpoint.write")) -> Response:
        endpoint, offers = await asyncio.gather(_endpoint(visitor, reference), _offers(visitor))
        return site.render(visitor, "pages/endpoint_variant_new.html", endpoint=endpoint, **offers)


def _histories(page: APIRouter, site: Site) -> None:
    @page.get("/w/{workspace}/endpoints/{reference}/variants")
    async def variants(reference: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        endpoint = await _endpoint(visitor, reference)
        listing = Listing(f"/endpoints/{endpoint['id']}/variants", columns=_VARIANT)
        if export := visitor.query.get("export"):
            return await listing.export(visitor, export)
        found, stats = await asyncio.gather(listing.page(visitor), _stats(visitor, _DAY, endpoint["id"]))
        values = await _named(visitor, endpoint, found["data"], [])
        values |= {"shares": _shares(endpoint["plan"]), "stats": _by(stats, "variant_id")}
        return site.render(visitor, "pages/endpoint_variants.html", endpoint=endpoint, page=found, **values)

    @page.get("/w/{workspace}/endpoints/{reference}/plans")
    async def plans(reference: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        endpoint = await _endpoint(visitor, reference)
        listing = Listing(f"/endpoints/{endpoint['id']}/plans", columns=_PLAN)
        if export := visitor.query.get("export"):
            return await listing.export(visitor, export)
        found = await listing.page(visitor)
        named = await _named(visitor, endpoint, [], found["data"])
        return site.render(visitor, "pages/endpoint_plans.html", endpoint=endpoint, page=found, **named)


async def _endpoint(visitor: Visitor, reference: str) -> Facts:
    """One endpoint with its live plan and the variants of that."""
    found: Facts = await visitor.api.get(f"/endpoints/{part(reference)}", variants="live")
    return found


async def _live(visitor: Visitor, endpoint: Facts) -> Facts:
    """What moves on an endpoint's page: who answers now, how well, and a release that is under way."""
    stats, uses, releases = await asyncio.gather(
        _stats(visitor, _DAY, endpoint["id"]),
        _uses(visitor, endpoint),
        listed(visitor, "release.read", "/releases", endpoint=endpoint["id"], limit=1),
    )
    return {
        "endpoint": endpoint,
        "shares": _shares(endpoint["plan"]),
        "stats": _by(stats, "variant_id"),
        "states": {each["digest"]: each["state"] for each in uses},
        "release": next((each for each in releases if each["status"] in ("preparing", "running")), None),
    }


async def _named(visitor: Visitor, endpoint: Facts, others: list[Facts], plans: list[Facts]) -> Facts:
    """What ids stand for on a page that shows an endpoint with `others` of its variants and some of its plans.

    `variants`, `versions` and `actors`: ids to names; `colours`: variants to numbers. Each plan gets its shares as
    `parts`: variant to per cent.
    """
    shown = [*endpoint["variants"], *others]
    called = {each["id"]: each["name"] for each in shown}
    for plan in plans:
        plan["parts"] = _shares(plan)
    parts = [adapter["version_id"] for variant in shown for adapter in variant["adapters"]]
    unnamed = sorted({each["variant_id"] for plan in plans for each in plan["shares"]} - called.keys())
    versions, actors, older = await asyncio.gather(
        version_names(visitor, [*parts, *(variant["version_id"] for variant in shown)]),
        actor_names(visitor, [plan["actor"] for plan in (endpoint["plan"], *plans)]),
        _variants(visitor, endpoint["id"], unnamed),
    )
    called |= {each["id"]: each["name"] for each in older}
    colours = {each: place for place, each in enumerate(called)}  # those of the live plan first, live or not
    return {"versions": versions, "actors": actors, "variants": called, "colours": colours}


async def _variants(visitor: Visitor, endpoint_id: str, ids: list[str]) -> list[Facts]:
    path = f"/endpoints/{endpoint_id}/variants"
    return await listed(visitor, _PERMISSION, path, id=ids, limit=_MOST) if ids else []


def _shares(plan: Mapping[str, Any]) -> dict[str, int]:
    """The variants of a plan to their per cent, in the plan's order."""
    return {each["variant_id"]: each["share"] for each in plan["shares"]}


async def _stats(visitor: Visitor, span: timedelta, endpoint_id: str | None) -> list[Facts]:
    since = (now() - span).isoformat()
    path = "/inferences/stats"
    return await listed(visitor, "inference.read", path, endpoint_id=endpoint_id, since=since, newest=NEWEST)


def _by(stats: list[Facts], name: str) -> dict[str, Facts]:
    """Figures of variants by variant, or added up by endpoint (requests and errors alone can be added up)."""
    found: dict[str, Facts] = {}
    for each in stats:
        if each[name] in found:
            before = found[each[name]]
            each = {**each, **{count: before[count] + each[count] for count in ("requests", "errors")}}
        found[each[name]] = each
    return found


async def _status(visitor: Visitor) -> Facts | None:
    found: Facts | None = await found_or_none(visitor, "system.read", "/status")
    return found


async def _policies(visitor: Visitor, ids: list[str]) -> dict[str, Facts]:
    """Training policies by their endpoint."""
    if not ids:
        return {}
    found = await listed(visitor, "run.read", "/training-policies", endpoint_id=ids, limit=len(ids))
    return {each["endpoint_id"]: each for each in found}


async def _policy(visitor: Visitor, endpoint_id: str) -> Facts | None:
    found: Facts | None = await found_or_none(visitor, "run.read", f"/training-policies/{endpoint_id}")
    return found


async def _uses(visitor: Visitor, endpoint: Facts) -> list[Facts]:
    """Where the adapters of the live plan are warm."""
    if not any(variant["adapters"] for variant in endpoint["variants"]):
        return []
    return await listed(visitor, "adapter.read", "/composition/stats", endpoint=endpoint["id"])


async def _offers(visitor: Visitor) -> Facts:
    """What a new variant may be made of: engines, and the newest versions."""
    versions, status = await asyncio.gather(
        listed(visitor, "version.read", "/versions", limit=_OFFERED), _status(visitor)
    )
    return {"versions": versions, "engines": status["engines"] if status else {}}
