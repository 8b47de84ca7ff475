"""The audit trail: who did what to what, filtered by its address, each row with its detail and a way to its target."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console.listing import Filter, Listing
from charkha.console.names import actor_names
from charkha.console.places import PLACES
from charkha.console.site import Site, Visitor

_PERMISSION = "audit.read"
_PREVIEW = 120
_LISTING = Listing(
    "/audit",
    columns=("id", "at", "actor", "action", "target_kind", "target_id", "detail"),
    filters=(
        Filter("action", "Action", hint="key.created"),
        Filter("actor", "Who", hint="key:… or system:…"),
        Filter("target_kind", "Kind of target", hint="endpoint"),
        Filter("target_id", "Target", hint="its id"),
        Filter("since", "From (UTC)", kind="date"),
        Filter("until", "Before (UTC)", kind="date"),
    ),
)
_PATHS = {
    **{kind: place.path + "{}" for kind, place in PLACES.items()},
    "endpoint": "/endpoints/{}",
    "feedback": "/open/{}",
    "key": "/keys#key-{}",
    "session": "/keys/sessions",
    "backup": "/settings#backups",
    "limit": "/limits#limit-{}",
    "price": "/prices",
}
"""Where each kind of target is shown; kinds that have no page are missing."""


def router(site: Site) -> APIRouter:
    """The page."""
    page = site.router()

    @page.get("/w/{workspace}/audit")
    async def trail(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        found = await _LISTING.page(visitor)
        for row in found["data"]:
            row |= {"path": _path(row), "preview": _preview(row["detail"])}
            row["whole"] = msgspec.json.format(msgspec.json.encode(row["detail"]), indent=2).decode()
        actors = await actor_names(visitor, [row["actor"] for row in found["data"]])
        return site.render(visitor, "pages/audit.html", page=found, listing=_LISTING, actors=actors)

    return page


def _path(row: Mapping[str, Any]) -> str | None:
    """The page of what was acted on; None where there is none, or no longer."""
    path = None if row["action"] in ("endpoint.deleted", "limit.deleted") else _PATHS.get(row["target_kind"])
    return path and path.format(quote(row["target_id"], safe=""))


def _preview(detail: Mapping[str, Any]) -> str:
    """The beginning of a detail in words: "name support, keeps content true"."""
    parts = [f"{name.replace('_', ' ')} {_word(value)}" for name, value in detail.items() if value is not None]
    text = ", ".join(parts)
    return text if len(text) <= _PREVIEW else f"{text[:_PREVIEW]}…"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
