"""Feedback: what people and programs said of answers, as a list and as a trend."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import judging, names, trend
from charkha.console.listing import Filter, Listing
from charkha.console.site import Site, Visitor
from charkha.core.clock import now

_PERMISSION = "feedback.read"
_KINDS = ("thumb", "correction", "score", "comment", "preference", "metric")
_LISTING = Listing(
    "/feedback",
    columns=(
        "id", "created_at", "kind", "value", "text", "name", "inference_id", "other_inference_id", "episode_id",
        "subject_id", "actor",
    ),
    filters=(
        Filter("kind", "Kind", tuple((kind, kind) for kind in _KINDS)),
        Filter("since", "From (UTC)", kind="date"),
        Filter("until", "Before (UTC)", kind="date"),
        Filter("inference_id", "Inference", hint="its id"),
        Filter("episode_id", "Episode"),
    ),
)  # fmt: skip


def router(site: Site) -> APIRouter:
    """The page."""
    page = site.router()

    @page.get("/w/{workspace}/feedback")
    async def listed(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        found, drawn = await asyncio.gather(_LISTING.page(visitor), _trend(visitor))
        actors = await names.actor_names(visitor, [each["actor"] for each in found["data"]])
        view = {"page": found, "listing": _LISTING, "told": judging.told, "actors": actors, **drawn}
        return site.render(visitor, "pages/feedback.html", **view)

    return page


async def _trend(visitor: Visitor) -> dict[str, Any]:
    """What is drawn above the list: of the workspace's days, so not where one inference or episode was asked for."""
    query = visitor.query
    over = trend.span(query.get("since"), query.get("until"), now().date())
    if over is None or "inference_id" in query or "episode_id" in query or "after" in query:
        return {"span": None, "trends": []}
    points = await visitor.api.get("/feedback/trend", **over.query)
    return {"span": over, "trends": trend.trends(points, over, query.get("kind"))}
