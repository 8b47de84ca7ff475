"""Versions: the registry, and one version with what it was made of, how it scored, and what can be done with it."""

import asyncio
import re
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import scorecards
from charkha.console.listing import Filter, Listing
from charkha.console.live import Fragments
from charkha.console.names import endpoint_names, found_or_none, listed, part, reference
from charkha.console.site import Site, Visitor
from charkha.core.errors import Invalid

_READ, _RELEASE, _EVALUATE = "version.read", "release.promote", "evaluation.write"
_COLUMNS = (
    "id", "name", "number", "kind", "engine", "base_model", "endpoint_id", "run_id", "dataset_version_id", "adapters",
    "created_at",
)  # fmt: skip
_SUITES, _EVALUATIONS, _RELEASES = 100, 10, 5
ACTIVE = ("queued", "running")
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The pages, the live stream of one, and what can be done with a version."""
    page = site.router()

    @page.get("/w/{workspace}/versions")
    async def all_versions(visitor: Visitor = site.visitor(_READ)) -> Response:
        names = await endpoint_names(visitor)
        listing = _listing(names)
        if export := visitor.query.get("export"):
            return await listing.export(visitor, export)
        found = await listing.page(visitor)
        told = await _of_each(visitor, [each["id"] for each in found["data"]])
        return site.render(visitor, "pages/versions.html", page=found, listing=listing, names=names, **told)

    @page.get("/w/{workspace}/versions/{version}")
    async def one_version(version: str, visitor: Visitor = site.visitor(_READ)) -> Response:
        found = await visitor.api.get(f"/versions/{part(version)}")
        scores, rest = await asyncio.gather(_scores(visitor, found), _rest(visitor, found))
        return site.render(visitor, "pages/version.html", version=found, **scores, **rest)

    @page.get("/w/{workspace}/live/versions/{version}")
    async def live(version: str, visitor: Visitor = site.visitor(_READ)) -> Response:
        found = await visitor.api.get(f"/versions/{part(version)}")

        async def make() -> Fragments:
            scores = await _scores(visitor, found)
            return {"scores": site.html(visitor, "pages/version_scores.html", version=found, **scores)}

        return site.stream(visitor, make)

    _actions(page, site)
    _aliases(page, site)
    return page


def _actions(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/versions/{version}/release")
    async def release(version: str, visitor: Visitor = site.visitor(_RELEASE)) -> Response:
        given = visitor.form
        body: Facts = {"endpoint": given.get("endpoint", ""), "version": version, "reason": given.get("reason", "")}
        if steps := numbers(given.get("steps", "")):
            body["steps"] = steps
        begun = await visitor.api.send("POST", "/releases", body)
        told = f"The release of {begun['candidate']} is being prepared."
        return site.said(visitor, told, go=visitor.href(f"/releases/{begun['id']}"))

    @page.post("/w/{workspace}/versions/{version}/evaluate")
    async def evaluate(version: str, visitor: Visitor = site.visitor(_EVALUATE)) -> Response:
        body: Facts = {"suite_id": visitor.form.get("suite_id", ""), "candidate_version_id": version}
        if beside := visitor.form.get("incumbent", "").strip():
            body["incumbent_version_id"] = (await visitor.api.get(f"/versions/{part(beside)}"))["id"]
        await visitor.api.send("POST", "/evaluations", body)
        detail = "What was measured before is taken over; the rest is measured now, below."
        return site.said(visitor, "The evaluation is queued.", detail=detail)


def _aliases(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/versions/{version}/alias")
    async def set_alias(version: str, visitor: Visitor = site.visitor(_RELEASE)) -> Response:
        found = await visitor.api.get(f"/versions/{part(version)}")
        alias = visitor.form.get("alias", "").strip()
        path = f"/aliases/{part(found['name'])}/{part(alias)}"
        done = await visitor.api.send("PUT", path, {"version": found["id"]})
        told = f"{found['name']}@{alias} is {reference(found)} now."
        return site.said(visitor, told, detail=f"{len(done['gateways'])} gateway processes follow it.")

    @page.post("/w/{workspace}/versions/{version}/alias/remove")
    async def drop_alias(version: str, visitor: Visitor = site.visitor(_RELEASE)) -> Response:
        found, alias = await visitor.api.get(f"/versions/{part(version)}"), visitor.form.get("alias", "")
        await visitor.api.send("DELETE", f"/aliases/{part(found['name'])}/{part(alias)}")
        return site.said(visitor, f"{found['name']}@{alias} is no more.")


def numbers(text: str) -> list[int]:
    """The whole numbers of a text such as "1, 10, 50, 100"; none for an empty one. Raises Invalid for anything else."""
    words = [word for word in re.split(r"[\s,→%]+", text) if word]
    try:
        return [int(word) for word in words]
    except ValueError:
        raise Invalid(
            f"'{text[:60]}' are no steps.", remedy="Write per cents that rise to 100: 1, 10, 50, 100."
        ) from None


def _listing(names: dict[str, str]) -> Listing:
    filters = (
        Filter("q", "Name", hint="how it begins"),
        Filter("kind", "Kind", (("adapter", "adapter"), ("base", "base"))),
        Filter("endpoint_id", "Endpoint", tuple(names.items())),
    )
    return Listing("/versions", _COLUMNS, filters)


async def _of_each(visitor: Visitor, ids: list[str]) -> Facts:
    """The newest evaluation and the aliases of some versions, by version."""
    if not ids:
        return {"evaluations": {}, "aliases": {}}
    asked = {"candidate_version_id": ids, "newest": True, "limit": len(ids)}
    found, pointing = await asyncio.gather(
        listed(visitor, "evaluation.read", "/evaluations", **asked),
        listed(visitor, _READ, "/aliases", version_id=ids),
    )
    aliases: dict[str, list[str]] = {}
    for each in pointing:
        aliases.setdefault(each["version_id"], []).append(each["alias"])
    return {"evaluations": {each["candidate_version_id"]: each for each in found}, "aliases": aliases}


async def _scores(visitor: Visitor, version: Facts) -> Facts:
    """What a version scored: its evaluations, newest first, and the one that is looked at."""
    asked = visitor.query.get("evaluation")
    found, suites = await asyncio.gather(
        listed(visitor, "evaluation.read", "/evaluations", candidate_version_id=version["id"], limit=_EVALUATIONS),
        listed(visitor, "evaluation.read", "/suites", limit=_SUITES),
    )
    chosen = await _chosen(visitor, found, asked)
    beside = chosen and chosen["incumbent_version_id"]
    incumbent = await found_or_none(visitor, _READ, f"/versions/{beside}") if beside else None
    return {
        "evaluations": found,
        "evaluation": chosen,
        "incumbent": incumbent,
        "suites": suites,
        "suite": next((each for each in suites if chosen and each["id"] == chosen["suite_id"]), None),
        "active": any(each["status"] in ACTIVE for each in found),
        "words": scorecards,
    }


async def _chosen(visitor: Visitor, found: list[Facts], asked: str | None) -> Facts | None:
    """The evaluation that the address asks for, or else the newest that has a scorecard, or else the newest."""
    if asked:
        chosen: Facts | None = await found_or_none(visitor, "evaluation.read", f"/evaluations/{part(asked)}")
        return chosen
    return next((each for each in found if each["scorecard"]), found[0] if found else None)


async def _rest(visitor: Visitor, version: Facts) -> Facts:
    """What else the page of a version shows."""
    path = f"/versions/{version['id']}"
    files, aliases, releases, lineage, data, names = await asyncio.gather(
        listed(visitor, _READ, f"{path}/files"),
        listed(visitor, _READ, "/aliases", version_id=version["id"]),
        listed(visitor, "release.read", "/releases", candidate=version["id"], limit=_RELEASES),
        found_or_none(visitor, "lineage.read", f"{path}/lineage", limit=1),
        _data(visitor, version["dataset_version_id"]),
        endpoint_names(visitor),
    )
    told = {"files": files, "aliases": aliases, "releases": releases, "lineage": lineage, "data": data}
    return {**told, "names": names}


async def _data(visitor: Visitor, dataset_version_id: str | None) -> Facts | None:
    if dataset_version_id is None:
        return None
    found: Facts | None = await found_or_none(visitor, "dataset.read", f"/dataset-versions/{dataset_version_id}")
    return found
