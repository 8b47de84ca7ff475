"""The playground: one question, two answers streaming side by side, rated where they stand."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console.site import Site, Visitor

_MOST = 100


def router(site: Site) -> APIRouter:
    """The page; its script asks through the door, as any client would."""
    page = site.router()

    @page.get("/w/{workspace}/playground")
    async def playground(visitor: Visitor = site.visitor("inference.create")) -> Response:
        models = await _models(visitor)
        names = [name for _, group in models for name, _ in group]
        first = visitor.query.get("a") or (names[0] if names else "")
        second = visitor.query.get("b") or next((name for name in names if name != first), "")
        return site.render(visitor, "pages/playground.html", models=models, lanes=(("a", first), ("b", second)))

    return page


async def _models(visitor: Visitor) -> list[tuple[str, list[tuple[str, str]]]]:
    """What may be asked, by kind: the name that a client would send, and what it is."""
    endpoints, versions = await asyncio.gather(
        _listed(visitor, "/endpoints", "endpoint.read"), _listed(visitor, "/versions", "version.read")
    )
    groups = [
        ("Endpoints", [(each["name"], "shares traffic by its live plan") for each in endpoints]),
        ("Versions", [(_reference(each), each["kind"]) for each in versions]),
    ]
    return [(title, group) for title, group in groups if group]


async def _listed(visitor: Visitor, path: str, permission: str) -> list[dict[str, Any]]:
    if not visitor.may(permission):
        return []
    found: list[dict[str, Any]] = (await visitor.api.get(path, limit=_MOST))["data"]
    return found


def _reference(version: dict[str, Any]) -> str:
    return f"{version['name']}@{version['number']}"
