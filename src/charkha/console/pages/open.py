"""Open an id: finds out what it is by asking the API for each kind of thing at once, and leads there."""

import asyncio
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from charkha.console import names
from charkha.console.api import Refused
from charkha.console.site import Site, Visitor
from charkha.core.errors import NotFound

_KINDS = (
    ("inference.read", "/inferences/{}"),
    ("run.read", "/runs/{}"),
    ("version.read", "/versions/{}"),
    ("release.read", "/releases/{}"),
    ("dataset.read", "/dataset-versions/{}"),
    ("dataset.read", "/datasets/{}"),
    ("endpoint.read", "/endpoints/{}"),
)
"""The permission that a kind of thing needs, and its path: that of the API and that of its page are the same."""


def router(site: Site) -> APIRouter:
    """The page, which is never seen where the id is known."""
    page = site.router()

    @page.get("/w/{workspace}/open/{thing}")
    async def lead(thing: str, visitor: Visitor = site.visitor("lineage.read")) -> Response:
        path = await _path(visitor, _id(thing))
        if path is None:
            raise NotFound(
                f"Nothing in the workspace '{visitor.workspace}' has the id {thing[:80]}.",
                remedy="Check it, or look in another workspace; what you may not read is not found either.",
            )
        return RedirectResponse(visitor.href(path), 303)

    return page


def _id(text: str) -> str:
    """The UUID in an id, such as that of an answer (`chatcmpl-<uuid>`); a name stays as it is."""
    try:
        return str(UUID(text[-36:]))
    except ValueError:
        return text


async def _path(visitor: Visitor, thing: str) -> str | None:
    """The page of a thing; None for what nobody knows."""
    named = names.part(thing)
    asked = [_at(visitor, permission, path.format(named)) for permission, path in _KINDS]
    found = await asyncio.gather(*asked, _evaluation(visitor, named), _key(visitor, thing))
    return next((path for path in found if path), None) or await _feedback(visitor, named)


async def _at(visitor: Visitor, permission: str, path: str) -> str | None:
    """The path, if the API has something there."""
    return path if await _asked(visitor, permission, path) else None


async def _evaluation(visitor: Visitor, named: str) -> str | None:
    """An evaluation is shown with the version that it measured."""
    found = await _asked(visitor, "evaluation.read", f"/evaluations/{named}")
    return f"/versions/{found['candidate_version_id']}?evaluation={found['id']}" if found else None


async def _key(visitor: Visitor, thing: str) -> str | None:
    found = await _asked(visitor, "key.read", "/keys", id=thing)
    return f"/keys#key-{thing}" if found and found["data"] else None


async def _feedback(visitor: Visitor, named: str) -> str | None:
    """Feedback is shown with the inference that it is on."""
    found = await _asked(visitor, "lineage.read", f"/lineage/feedback/{named}")
    sources = found["sources"] if found else []
    return f"/inferences/{sources[0]['id']}" if sources else None


async def _asked(visitor: Visitor, permission: str, path: str, **query: Any) -> Any:
    """What the API answers; None where it knows nothing of it, or the visitor may not."""
    if not visitor.may(permission):
        return None
    try:
        return await visitor.api.get(path, **query)
    except Refused as refused:
        if refused.status in (400, 404, 422):
            return None
        raise
