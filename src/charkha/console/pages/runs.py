"""Runs: what is and was trained, and one run as it goes: its progress, curves, log, and what came of it."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console.curves import MOST_POINTS, curves, measured
from charkha.console.listing import Filter, Listing
from charkha.console.live import Fragments
from charkha.console.names import endpoint_names, found_or_none, listed, part
from charkha.console.site import Site, Visitor
from charkha.core.clock import now

_READ, _WRITE = "run.read", "run.write"
ACTIVE = ("queued", "running")
_STATUSES = tuple((word, word) for word in (*ACTIVE, "succeeded", "failed", "cancelled"))
_COLUMNS = (
    "id", "status", "endpoint_id", "recipe", "dataset_version_id", "base_model", "seed", "attempt", "step", "steps",
    "loss", "error", "created_at", "started_at", "ended_at", "config",
)  # fmt: skip
_LINES = 500
_FRAGMENTS = ("head", "now", "curves", "log", "facts")


def router(site: Site) -> APIRouter:
    """The pages, the live stream of one, and what can be done with a run."""
    page = site.router()

    @page.get("/w/{workspace}/runs")
    async def all_runs(visitor: Visitor = site.visitor(_READ)) -> Response:
        names = await endpoint_names(visitor)
        listing = _listing(names)
        if export := visitor.query.get("export"):
            return await listing.export(visitor, export)
        found = await listing.page(visitor)
        return site.render(visitor, "pages/runs.html", page=found, listing=listing, names=names, now=now().isoformat())

    @page.get("/w/{workspace}/runs/{run}")
    async def one_run(run: str, visitor: Visitor = site.visitor(_READ)) -> Response:
        moving = await _moving(visitor, run)
        return site.render(visitor, "pages/run.html", **moving, **await _fixed(visitor, moving["run"]))

    @page.get("/w/{workspace}/live/runs/{run}")
    async def live(run: str, visitor: Visitor = site.visitor(_READ)) -> Response:
        fixed = await _fixed(visitor, await visitor.api.get(f"/runs/{part(run)}"))

        async def make() -> Fragments:
            view = {**await _moving(visitor, run), **fixed}
            return {f"run-{name}": site.html(visitor, f"pages/run_{name}.html", **view) for name in _FRAGMENTS}

        return site.stream(visitor, make)

    _actions(page, site)
    return page


def _actions(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/runs/{run}/cancel")
    async def cancel(run: str, visitor: Visitor = site.visitor(_WRITE)) -> Response:
        found = await visitor.api.send("POST", f"/runs/{part(run)}/cancel")
        if found["status"] == "cancelled":
            return site.said(visitor, "The run is cancelled.")
        detail = "It ends within seconds and leaves a checkpoint, from which it can be resumed."
        return site.said(visitor, "The run is being cancelled.", detail=detail)

    @page.post("/w/{workspace}/runs/{run}/resume")
    async def resume(run: str, visitor: Visitor = site.visitor(_WRITE)) -> Response:
        await visitor.api.send("POST", f"/runs/{part(run)}/resume")
        return site.said(visitor, "The run is queued again.", detail="It goes on from its last checkpoint.")


def _listing(names: dict[str, str]) -> Listing:
    filters = (Filter("endpoint_id", "Endpoint", tuple(names.items())), Filter("status", "Status", _STATUSES))
    return Listing("/runs", _COLUMNS, filters)


async def _fixed(visitor: Visitor, run: dict[str, Any]) -> dict[str, Any]:
    """What the page of a run shows that stays as it is."""
    data, recipes, names = await asyncio.gather(
        found_or_none(visitor, "dataset.read", f"/dataset-versions/{run['dataset_version_id']}"),
        listed(visitor, _READ, "/recipes"),
        endpoint_names(visitor),
    )
    schema: dict[str, Any] = next((each["config"] for each in recipes if each["name"] == run["recipe"]), {})
    return {"data": data, "choices": schema.get("properties", {}), "names": names, "active": ACTIVE}


async def _moving(visitor: Visitor, run_id: str) -> dict[str, Any]:
    """What changes while a run goes."""
    api, path = visitor.api, f"/runs/{part(run_id)}"
    run, points, log, made = await asyncio.gather(
        api.get(path),
        api.get(f"{path}/points", most=MOST_POINTS),
        api.get(f"{path}/log", last=_LINES),
        listed(visitor, "version.read", "/versions", run_id=run_id, limit=1),
    )
    return {
        "run": run,
        "points": points,
        "curves": curves([("this run", points)]),
        "log": log,
        "measures": measured((run["result"] or {}).get("record", {}).get("metrics", {})),
        "version": made[0] if made else None,
        "now": now().isoformat(),
    }
