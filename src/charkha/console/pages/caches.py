"""Caches: which endpoints give answers again, how often that is so, what it saves, and the forms that change it."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import forms, saving, trend
from charkha.console.listing import Listing
from charkha.console.names import listed, part
from charkha.console.site import Site, Visitor
from charkha.core.clock import now

_PERMISSION = "endpoint.read"
_LISTING = Listing("/caches", columns=("id", "endpoint", "cache", "hits", "misses", "hit_rate", "saved"))
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The page, and the changes that its forms ask for."""
    page = site.router()

    @page.get("/w/{workspace}/caches")
    async def overview(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        found, days = await asyncio.gather(_LISTING.page(visitor), _days(visitor))
        values: Facts = {"page": found, "days": days, "money": saving.money, "lasting": saving.lasting}
        return site.render(visitor, "pages/caches.html", **values)

    _changes(page, site)
    return page


def _changes(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/endpoints/{reference}/cache")
    async def change(reference: str, visitor: Visitor = site.visitor("endpoint.write")) -> Response:
        policy = None if visitor.form.get("cache") == "off" else _policy(visitor.form)
        await visitor.api.send("PATCH", f"/endpoints/{part(reference)}", {"cache": policy})
        if policy is None:
            return site.said(
                visitor, "The engine is asked each time from now on.", detail="What was kept is forgotten."
            )
        return site.said(visitor, "Answers are given again from now on.", detail="What was kept before is forgotten.")

    @page.post("/w/{workspace}/caches/clear")
    async def clear(visitor: Visitor = site.visitor("endpoint.write")) -> Response:
        done = await visitor.api.send("POST", "/caches/clear", {"endpoint": forms.text(visitor.form, "endpoint")})
        count = len(done["gateways"])
        return site.said(visitor, "The answers are forgotten.", detail=f"At {count} of {count} gateways.")


async def _days(visitor: Visitor) -> saving.Days:
    """What is drawn above the list: the last days of the workspace's usage."""
    over = trend.span(None, None, now().date())
    assert over is not None, "no dates were given, so there are days"
    usage = await listed(visitor, "usage.read", "/usage", by=["day"], since=over.first.isoformat())
    return saving.by_day(usage, over.days)


def _policy(form: forms.Form) -> Facts:
    """A cache as the form describes it; semantic where an embedding model is named."""
    policy: Facts = {
        "seconds": forms.whole(form, "seconds", "Seconds"),
        "max_temperature": forms.number(form, "max_temperature", "Highest temperature"),
        "tools": forms.checked(form, "tools"),
    }
    if model := forms.text(form, "model"):
        threshold = forms.number(form, "threshold", "Threshold")
        policy["semantic"] = {"engine": forms.text(form, "engine") or "", "model": model, "threshold": threshold}
        policy["semantic"] = {name: value for name, value in policy["semantic"].items() if value is not None}
    return {name: value for name, value in policy.items() if value is not None}
