"""Adapters: where each is loaded and where it answers, blends of them on an endpoint, and a way to bring one's own."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import forms
from charkha.console.api import Refused
from charkha.console.listing import Filter, Listing
from charkha.console.names import listed, part, reference, version_names
from charkha.console.site import Site, Visitor
from charkha.core.errors import Conflict, Invalid

_PERMISSION = "adapter.read"
_PARTS, _SHOWN, _OFFERED, _MOST_ENDPOINTS = 8, 3, 50, 200
Facts = dict[str, Any]


@dataclass(frozen=True)
class _Adapters(Listing):
    """The list of adapters, each as one flat row, for a table that a spreadsheet opens."""

    def row(self, row: Facts) -> Facts:
        """The fields of an adapter's version beside its size and its states."""
        digests = [digest for digest, _ in row["version"]["adapters"]]
        return {**row["version"], "digests": digests, "bytes": row["bytes"], "engines": row["engines"]}


_LISTING = _Adapters(
    "/adapters",
    columns=("id", "name", "number", "engine", "base_model", "digests", "bytes", "engines", "run_id", "created_at"),
    filters=(Filter("q", "Name", hint="how it begins"),),
)


def router(site: Site) -> APIRouter:
    """The pages."""
    page = site.router()

    @page.get("/w/{workspace}/adapters")
    async def overview(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        found, uses = await asyncio.gather(_LISTING.page(visitor), visitor.api.get("/composition/stats"))
        return site.render(visitor, "pages/adapters.html", page=found, listing=_LISTING, uses=_by_digest(uses))

    @page.get("/w/{workspace}/adapters/upload")
    async def bring(visitor: Visitor = site.visitor("adapter.write")) -> Response:
        bases = await listed(visitor, "version.read", "/versions", kind="base", limit=_OFFERED)
        return site.render(visitor, "pages/adapter_upload.html", bases=[reference(each) for each in bases])

    @page.get("/w/{workspace}/adapters/blend")
    async def mix(visitor: Visitor = site.visitor("release.promote")) -> Response:
        return site.render(visitor, "pages/adapter_blend.html", **await _blend(visitor))

    @page.post("/w/{workspace}/adapters/blend")
    async def swap(visitor: Visitor = site.visitor("release.promote")) -> Response:
        done = await _swapped(visitor, _wanted(visitor.form))
        told = f"{visitor.form['endpoint']} answers with {done['variant']['name']} from now on."
        detail = f"Plan {done['plan']['number']}: every gateway serves it."
        return site.said(visitor, told, detail=detail, go=visitor.href(f"/endpoints/{part(visitor.form['endpoint'])}"))

    return page


def _by_digest(uses: Iterable[Facts]) -> dict[str, list[Facts]]:
    """Where each adapter answers, by its digest; parts of plans that have no share are left out."""
    found: dict[str, list[Facts]] = defaultdict(list)
    for each in uses:
        if each["share"]:
            found[each["digest"]].append(each)
    return found


async def _blend(visitor: Visitor) -> Facts:
    """What the page of a blend shows: the endpoints, the chosen one, and its rows as they are or as the address asks."""
    endpoints, versions = await asyncio.gather(
        listed(visitor, "endpoint.read", "/endpoints", limit=_MOST_ENDPOINTS),
        listed(visitor, "version.read", "/versions", kind="adapter", limit=_OFFERED),
    )
    wanted = visitor.query.get("endpoint") or (endpoints[0]["name"] if endpoints else None)
    chosen = await visitor.api.get(f"/endpoints/{part(wanted)}", variants="live") if wanted else None
    rows = await _rows(visitor, chosen) if chosen else []
    filled = sum(1 for name, _ in rows if name)
    values: Facts = {"endpoints": endpoints, "chosen": chosen, "rows": rows, "shown": max(filled + 1, _SHOWN)}
    if chosen:
        values["shares"] = {each["variant_id"]: each["share"] for each in chosen["plan"]["shares"]}
        values["called"] = {each["id"]: each["name"] for each in chosen["variants"]}
    return values | {"offered": [reference(each) for each in versions]}


async def _rows(visitor: Visitor, endpoint: Facts) -> list[tuple[str, float]]:
    """Eight rows of version and weight: what the baseline is made of now, then the version that the address names."""
    adapters = endpoint["variants"][0]["adapters"]
    called = await version_names(visitor, [each["version_id"] for each in adapters])
    now = {called.get(each["version_id"], each["version_id"] or ""): each["weight"] for each in adapters}
    if added := visitor.query.get("version"):
        now.setdefault(added, 1.0)
    rows = [(name, weight) for name, weight in now.items() if name][:_PARTS]
    return rows + [("", 1.0)] * (_PARTS - len(rows))


def _wanted(form: forms.Form) -> list[Facts]:
    """The parts of the blend that the form names. Raises Invalid where it names none and does not say so."""
    parts = []
    for place in range(_PARTS):
        if version := forms.text(form, f"version-{place}"):
            weight = forms.number(form, f"weight-{place}", f"Weight of {version}")
            parts.append({"version": version, "weight": 1.0 if weight is None else weight})
    if not parts and not forms.checked(form, "bare"):
        raise Invalid("The blend has no parts.", remedy="Name a version, or tick that the model shall answer alone.")
    if parts and forms.checked(form, "bare"):
        raise Invalid("The model cannot answer alone and with adapters.", remedy="Clear the versions, or the tick.")
    return parts


async def _swapped(visitor: Visitor, parts: list[Facts]) -> Facts:
    form = visitor.form
    body = {
        "endpoint": form.get("endpoint", ""),
        "adapters": parts,
        "name": forms.text(form, "name") or "blend",
        "expected_plan_id": form.get("expected_plan_id"),
        "reason": forms.text(form, "reason") or "blended by hand",
    }
    try:
        done: Facts = await visitor.api.send("POST", "/composition/swap", body)
    except Refused as refused:
        if refused.param == "expected_plan_id":
            raise Conflict(
                f"Somebody moved the traffic meanwhile, so nothing was changed. {refused.message}",
                remedy="Reload the page, look at what answers now, and decide again.",
            ) from refused
        raise
    return done
