"""Runs side by side: their curves on one scale, what was chosen differently, and what came of each."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console.curves import MOST_POINTS, curves
from charkha.console.names import endpoint_names, listed, part
from charkha.console.site import Site, Visitor
from charkha.core.clock import now
from charkha.core.errors import Invalid

MOST = 6
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The page."""
    page = site.router()

    @page.get("/w/{workspace}/runs/compare")
    async def compare(visitor: Visitor = site.visitor("run.read")) -> Response:
        chosen = await _chosen(visitor)
        names, versions = await asyncio.gather(endpoint_names(visitor), _versions(visitor, chosen))
        scores = await _scores(visitor, list(versions.values()))
        return site.render(
            visitor,
            "pages/run_compare.html",
            runs=[run for run, _ in chosen],
            curves=curves([(f"run {run['id'][-8:]}", points) for run, points in chosen]),
            choices=choices([_choice(run) for run, _ in chosen]),
            names=names,
            versions=versions,
            scores=scores,
            now=now().isoformat(),
        )

    return page


def ids(texts: list[str]) -> list[str]:
    """The ids that an address names, each once: `ids=a&ids=b`, or `ids=a,b`. Raises Invalid for more than can be told apart."""
    found = list(dict.fromkeys(each.strip() for text in texts for each in text.split(",") if each.strip()))
    if len(found) > MOST:
        raise Invalid(f"{len(found)} runs are more than can be told apart.", remedy=f"Choose up to {MOST} of them.")
    return found


def choices(configs: list[Facts]) -> list[tuple[str, list[Any], bool]]:
    """Each thing that was chosen: its name, its value in each run, and whether they differ. What differs comes first."""
    names = list(dict.fromkeys(name for config in configs for name in config))
    rows = [(name, [config.get(name) for config in configs]) for name in names]
    told = [(name, values, any(value != values[0] for value in values)) for name, values in rows]
    return sorted(told, key=lambda row: not row[2])


def _choice(run: Facts) -> Facts:
    """Everything that was chosen of a run."""
    return {"recipe": run["recipe"], "seed": run["seed"], "base model": run["base_model"], **run["config"]}


async def _chosen(visitor: Visitor) -> list[tuple[Facts, list[Facts]]]:
    """The runs of the address with their curves."""

    async def one(run_id: str) -> tuple[Facts, list[Facts]]:
        path = f"/runs/{part(run_id)}"
        run, points = await asyncio.gather(visitor.api.get(path), visitor.api.get(f"{path}/points", most=MOST_POINTS))
        return run, points

    asked = ids(visitor.request.query_params.getlist("ids"))
    return list(await asyncio.gather(*(one(run_id) for run_id in asked)))


async def _versions(visitor: Visitor, chosen: list[tuple[Facts, list[Facts]]]) -> dict[str, Facts]:
    """The versions that the runs became, by run."""
    run_ids = [run["id"] for run, _ in chosen]
    found = await listed(visitor, "version.read", "/versions", run_id=run_ids, limit=MOST) if run_ids else []
    return {version["run_id"]: version for version in found}


async def _scores(visitor: Visitor, versions: list[Facts]) -> dict[str, Facts]:
    """The newest evaluation of each version, by version."""
    asked = [version["id"] for version in versions]
    found = (
        await listed(visitor, "evaluation.read", "/evaluations", candidate_version_id=asked, newest=True)
        if asked
        else []
    )
    return {each["candidate_version_id"]: each for each in found}
