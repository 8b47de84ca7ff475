"""Data sets: their versions, the examples in them with where each came from, and a way to bring new ones."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import names, places
from charkha.console.listing import Filter, Listing
from charkha.console.site import Site, Visitor

_PERMISSION = "dataset.read"
_LISTING = Listing(
    "/datasets",
    columns=("id", "name", "versions", "examples", "newest_version_id", "updated_at", "created_at"),
    filters=(Filter("q", "Name", hint="a part of it"),),
)
_VERSION_COLUMNS = ("id", "number", "digest", "examples", "labels", "report", "created_at")
_EXAMPLES, _MOST_RUNS, _MOST_LABELS = 25, 100, 40


def router(site: Site) -> APIRouter:
    """The pages."""
    page = site.router()

    @page.get("/w/{workspace}/datasets")
    async def listed(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        found = await _LISTING.page(visitor)
        return site.render(visitor, "pages/datasets.html", page=found, listing=_LISTING)

    @page.get("/w/{workspace}/datasets/upload")
    async def form(visitor: Visitor = site.visitor("dataset.write")) -> Response:
        return site.render(visitor, "pages/dataset_upload.html", name=visitor.query.get("name", ""))

    @page.post("/w/{workspace}/datasets/upload")
    async def upload(visitor: Visitor = site.visitor("dataset.write")) -> Response:
        lines = visitor.form.get("lines", "").encode()
        made = await visitor.api.upload("/datasets", lines, "application/jsonl", name=visitor.form.get("name", ""))
        told = f"{made['name']} has version {made['number']}: {made['examples']} examples."
        return site.said(visitor, told, go=visitor.href(f"/dataset-versions/{made['id']}"))

    @page.get("/w/{workspace}/datasets/{dataset}")
    async def versions(dataset: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        path = f"/datasets/{names.part(dataset)}"
        listing = Listing(f"{path}/versions", columns=_VERSION_COLUMNS)
        if export := visitor.query.get("export"):
            return await listing.export(visitor, export)
        found, page = await asyncio.gather(visitor.api.get(path), listing.page(visitor))
        runs = await _runs(visitor, [each["id"] for each in page["data"]])
        return site.render(visitor, "pages/dataset.html", found=found, page=page, runs=runs)

    @page.get("/w/{workspace}/dataset-versions/{version}")
    async def version(version: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        return site.render(visitor, "pages/dataset_version.html", **await _view(visitor, version))

    return page


async def _view(visitor: Visitor, version_id: str) -> dict[str, Any]:
    """One version: some of its examples, what it was made of, and what was made of it."""
    offset, path = _offset(visitor.query.get("offset")), f"/dataset-versions/{names.part(version_id)}"
    found, examples, lineage, runs, suites = await asyncio.gather(
        visitor.api.get(path),
        visitor.api.get(f"{path}/examples", offset=offset, limit=_EXAMPLES + 1, q=visitor.query.get("q")),
        names.found_or_none(visitor, "lineage.read", f"/lineage/dataset_version/{names.part(version_id)}", depth=4),
        _runs(visitor, [version_id]),
        names.listed(visitor, "evaluation.read", "/suites", dataset_version_id=version_id),
    )
    came_of = places.groups(lineage["made"]) if lineage else []
    return {
        "found": found,
        "answers": any(each["answer"] != each.get("label") for each in examples),
        "names": await places.names(visitor, came_of),
        "examples": examples[:_EXAMPLES],
        "offset": offset,
        "step": _EXAMPLES,
        "more": len(examples) > _EXAMPLES,
        "classes": _classes(found["report"].get("statistics")),
        "sources": (lineage or {}).get("source_counts", {}),
        "came_of": came_of,
        "runs": runs.get(version_id, []),
        "suites": suites,
    }


def _classes(statistics: dict[str, Any] | None) -> dict[str, Any] | None:
    """The labels by how many examples have them: the most frequent, and what the others have together."""
    counts = (statistics or {}).get("classes")
    if not counts:
        return None
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    rest = ranked[_MOST_LABELS:]
    return {
        "shown": ranked[:_MOST_LABELS],
        "others": (len(rest), sum(count for _, count in rest)),
        "most": ranked[0][1],
        "total": sum(counts.values()),
    }


async def _runs(visitor: Visitor, versions: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The newest runs by the version that they learned from."""
    if not versions:
        return {}
    by_version: dict[str, list[dict[str, Any]]] = {}
    for run in await names.listed(visitor, "run.read", "/runs", dataset_version_id=versions, limit=_MOST_RUNS):
        by_version.setdefault(run["dataset_version_id"], []).append(run)
    return by_version


def _offset(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0
