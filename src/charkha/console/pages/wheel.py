"""The wheel: the home page. One endpoint's present turn, understood in five seconds, and the endpoints beside it."""

import asyncio
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console.api import Refused
from charkha.console.live import Fragments
from charkha.console.names import NEWEST
from charkha.console.site import Site, Visitor
from charkha.console.turn import Facts, Known, turn
from charkha.core.clock import now
from charkha.core.errors import NotFound

_PERMISSION = "release.read"
_MOST_ENDPOINTS, _MOST_POINTS = 100, 120


def router(site: Site) -> APIRouter:
    """The page and its live stream."""
    page = site.router()

    @page.get("/w/{workspace}/")
    async def wheel(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        return site.render(visitor, "pages/wheel.html", **await _view(visitor))

    @page.get("/w/{workspace}/live/wheel")
    async def live(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        async def make() -> Fragments:
            return {"page": site.html(visitor, "pages/wheel_turn.html", **await _view(visitor))}

        return site.stream(visitor, make)

    return page


async def _view(visitor: Visitor) -> dict[str, Any]:
    """What the page shows: the chosen endpoint's turn, and every endpoint to choose from."""
    endpoints = (await visitor.api.get("/endpoints", limit=_MOST_ENDPOINTS))["data"]
    chosen = await _chosen(visitor, endpoints)
    if chosen is None:
        return {"endpoints": [], "chosen": None}
    known, stats = await _known(visitor, chosen)
    detail = await visitor.api.get(f"/endpoints/{chosen['id']}")
    return {
        "endpoints": endpoints,
        "chosen": chosen,
        "turn": turn(known),
        "known": known,
        "stats": stats,
        "variants": {variant["id"]: variant["name"] for variant in detail["variants"]},
        "losses": await _losses(visitor, known.run),
        "decisions": await _decisions(visitor, known.rollout),
    }


async def _chosen(visitor: Visitor, endpoints: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The endpoint that the address names, or else the one whose wheel moved last."""
    named = visitor.query.get("endpoint")
    if named is not None:
        found = next((each for each in endpoints if named in (each["name"], each["id"])), None)
        if found is None:
            raise NotFound(
                f"There is no endpoint '{named}' in this workspace.", remedy="Choose one on the wheel's page."
            )
        return found
    runs = (await visitor.api.get("/runs", limit=1))["data"]
    moved = runs[0]["endpoint_id"] if runs else None
    return next((each for each in endpoints if each["id"] == moved), endpoints[0] if endpoints else None)


async def _known(visitor: Visitor, endpoint: dict[str, Any]) -> tuple[Known, list[dict[str, Any]]]:
    """What the API tells of an endpoint's newest turn, and what each variant did in the last day."""
    api, endpoint_id = visitor.api, endpoint["id"]
    since = (now() - timedelta(days=1)).isoformat()
    policy, run, newest, stats = await asyncio.gather(
        _policy(visitor, endpoint_id),
        _first(visitor, "/runs", endpoint_id=endpoint_id),
        _first(visitor, "/releases", endpoint=endpoint_id),
        api.get("/inferences/stats", endpoint_id=endpoint_id, since=since, newest=NEWEST),
    )
    version = await _first(visitor, "/versions", run_id=run["id"]) if run and run["result"] else None
    evaluation = await _first(visitor, "/evaluations", candidate_version_id=version["id"]) if version else None
    is_of_turn = newest and (run is None or (version and newest["candidate_version_id"] == version["id"]))
    requests = sum(variant["requests"] for variant in stats)
    return Known(policy, run, version, evaluation, newest if is_of_turn else None, requests, requests >= NEWEST), stats


async def _decisions(visitor: Visitor, rollout: Facts | None) -> list[dict[str, Any]]:
    """What was decided about a rollout, newest first."""
    return (await visitor.api.get(f"/releases/{rollout['id']}"))["decisions"][::-1] if rollout else []


async def _losses(visitor: Visitor, run: Facts | None) -> list[float]:
    """The curve of a run, as many points of it as a small picture shows."""
    if run is None:
        return []
    points = await visitor.api.get(f"/runs/{run['id']}/points")
    return [point["loss"] for point in points[:: max(1, len(points) // _MOST_POINTS)]]


async def _policy(visitor: Visitor, endpoint_id: str) -> dict[str, Any] | None:
    try:
        policy: dict[str, Any] = await visitor.api.get(f"/training-policies/{endpoint_id}")
    except Refused as refused:
        if refused.status == 404:
            return None
        raise
    return policy


async def _first(visitor: Visitor, path: str, **query: Any) -> dict[str, Any] | None:
    """The newest of a list."""
    found: list[dict[str, Any]] = (await visitor.api.get(path, limit=1, **query))["data"]
    return found[0] if found else None
