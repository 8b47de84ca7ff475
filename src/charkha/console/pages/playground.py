"""The playground: one question, two answers streaming side by side, measured and rated where they stand."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console.names import listed, reference
from charkha.console.site import Site, Visitor

_MOST = 100
Offer = tuple[str, str, str]
"""What a choice asks, what it is called, and what it is."""


def router(site: Site) -> APIRouter:
    """The page; its script asks through the door, as any client would."""
    page = site.router()

    @page.get("/w/{workspace}/playground")
    async def playground(visitor: Visitor = site.visitor("inference.create")) -> Response:
        models = await _models(visitor)
        asked = [value for _, group in models for value, _, _ in group]
        said = visitor.request.query_params  # an empty one means nobody
        first = said.get("a", asked[0] if asked else "")
        second = said.get("b", next((value for value in asked if value != first), ""))
        return site.render(visitor, "pages/playground.html", models=models, lanes=(("a", first), ("b", second)))

    return page


async def _models(visitor: Visitor) -> list[tuple[str, list[Offer]]]:
    """What may be asked, by kind. A variant is asked as its version with its own system prompt and parameters."""
    endpoints, versions = await asyncio.gather(
        listed(visitor, "endpoint.read", "/endpoints", limit=_MOST, variants="live"),
        listed(visitor, "version.read", "/versions", limit=_MOST),
    )
    groups = [
        ("Endpoints", [(each["name"], each["name"], "shares traffic by its live plan") for each in endpoints]),
        ("Variants that endpoints have now", [offer for each in endpoints for offer in _variants(each)]),
        ("Versions", [(reference(each), reference(each), each["kind"]) for each in versions]),
    ]
    return [(title, group) for title, group in groups if group]


def _variants(endpoint: dict[str, Any]) -> list[Offer]:
    """The variants of an endpoint that can be asked without it: those of a version. A blend by hand has no such name, and a
    prompt is said by its endpoint alone."""
    return [
        (f"variant:{endpoint['id']}:{each['id']}", f"{endpoint['name']}: {each['name']}", "with its own prompt")
        for each in endpoint["variants"]
        if each["version_id"] and not each["prompt"]
    ]
