"""Two versions side by side: what each is, and how each scored."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import scorecards
from charkha.console.names import endpoint_names, found_or_none, listed, part
from charkha.console.site import Site, Visitor

_MOST_EVALUATIONS = 50
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The page."""
    page = site.router()

    @page.get("/w/{workspace}/versions/compare")
    async def compare(visitor: Visitor = site.visitor("version.read")) -> Response:
        asked = asked_for(visitor.query, visitor.request.query_params.getlist("ids"))
        versions = await asyncio.gather(*(visitor.api.get(f"/versions/{part(each)}") for each in asked if each))
        evaluations, names, files = await asyncio.gather(
            asyncio.gather(*(_evaluations(visitor, each) for each in versions)),
            endpoint_names(visitor),
            asyncio.gather(*(_bytes(visitor, each) for each in versions)),
        )
        return site.render(
            visitor,
            "pages/version_compare.html",
            asked=asked,
            versions=versions,
            scores=[next((each for each in found if each["scorecard"]), None) for found in evaluations],
            direct=_direct(versions, evaluations),
            facts=facts(versions, names, files),
            choices=_choices(versions),
            words=scorecards,
        )

    return page


def asked_for(query: Facts, ids: list[str]) -> tuple[str, str]:
    """The two references of an address: `a` and `b`, or the first two `ids`; "" for one that is missing."""
    given = [query.get("a", "").strip(), query.get("b", "").strip()]
    rest = iter(each.strip() for text in ids for each in text.split(","))
    first, second = (each or next(rest, "") for each in given)
    return first, second


def facts(versions: list[Facts], names: dict[str, str], sizes: list[int | None]) -> list[tuple[str, list[Any], bool]]:
    """What the versions are: the name of each fact, its values, and whether they differ."""
    rows: list[tuple[str, list[Any]]] = [
        (title, [version[field] for version in versions])
        for title, field in (
            ("kind", "kind"),
            ("base model", "base_model"),
            ("engine", "engine"),
            ("base's sha256", "base_hash"),
        )
    ]
    rows.append(("endpoint", [names.get(each["endpoint_id"], each["endpoint_id"]) for each in versions]))
    rows.append(("system prompt", [each["system_prompt"] for each in versions]))
    rows.append(("adapter's size", list(sizes)))
    return [(name, values, any(value != values[0] for value in values)) for name, values in rows]


def _choices(versions: list[Facts]) -> list[tuple[str, list[Any], bool]]:
    """What was chosen when they were trained; nothing where one of them was not trained here."""
    configs = [version["detail"].get("record", {}).get("config", {}) for version in versions]
    if not all(configs):
        return []
    names = dict.fromkeys(name for config in configs for name in config)
    rows = [(name, [config.get(name) for config in configs]) for name in names]
    told = [(name, values, any(value != values[0] for value in values)) for name, values in rows]
    return sorted(told, key=lambda row: not row[2])


def _direct(versions: list[Facts], evaluations: list[list[Facts]]) -> tuple[int, Facts] | None:
    """The newest evaluation that compared the two on the same examples, and which of them was its candidate."""
    if len(versions) < 2:
        return None
    for place in (0, 1):
        other = versions[1 - place]["id"]
        for each in evaluations[place]:
            if each["incumbent_version_id"] == other and each["scorecard"]:
                return place, each
    return None


async def _evaluations(visitor: Visitor, version: Facts) -> list[Facts]:
    asked = {"candidate_version_id": version["id"], "limit": _MOST_EVALUATIONS}
    return await listed(visitor, "evaluation.read", "/evaluations", **asked)


async def _bytes(visitor: Visitor, version: Facts) -> int | None:
    """The size of a version's adapter."""
    files = await found_or_none(visitor, "version.read", f"/versions/{version['id']}/files") or []
    return next((each["bytes"] for each in files if each["name"] == "gguf"), None)
