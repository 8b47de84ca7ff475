"""Keys: API keys of the workspace, who is signed in to the console, and links that sign somebody in.

A secret stands in the answer to the form that made it, once: in no address, no log, and no page that is kept.
"""

import asyncio
import re
from itertools import groupby
from typing import Any

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import filters, forms
from charkha.console.listing import Listing
from charkha.console.names import part
from charkha.console.site import Site, Visitor
from charkha.core.clock import now
from charkha.govern.permissions import ROLES

_PERMISSION = "key.read"
_SCOPE = "scope:"
_SHOWN = 10
_KEYS = Listing("/keys", columns=("id", "name", "hint", "role", "scopes", "created_at", "expires_at", "revoked_at"))
_SESSIONS = Listing(
    "/sessions",
    columns=("id", "key_id", "key_name", "key_hint", "user_agent", "created_at", "expires_at", "revoked_at"),
)
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("HeadlessChrome", "Chrome (headless)"),
    ("Chrome", "Chrome"),
    ("Version", "Safari"),
)
"""What browsers call themselves, those first that name others besides."""
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The pages."""
    page = site.router()
    _lists(page, site)
    _changes(page, site)
    return page


def _lists(page: APIRouter, site: Site) -> None:
    @page.get("/w/{workspace}/keys")
    async def overview(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _KEYS.export(visitor, export)
        found, sessions = await asyncio.gather(_KEYS.page(visitor), _newest_sessions(visitor))
        values: Facts = {"states": _states(found["data"]), "roles": list(ROLES), "scopes": _scopes(visitor)}
        values |= _shown(sessions)
        return site.render(visitor, "pages/keys.html", page=found, **values)

    @page.get("/w/{workspace}/keys/sessions")
    async def sessions(visitor: Visitor = site.visitor("session.read")) -> Response:
        if export := visitor.query.get("export"):
            return await _SESSIONS.export(visitor, export)
        found = await _SESSIONS.page(visitor)
        return site.render(visitor, "pages/sessions.html", page=found, **_shown(found))


def _changes(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/keys")
    async def create(visitor: Visitor = site.visitor("key.manage")) -> Response:
        form = visitor.form
        scopes = sorted(name.removeprefix(_SCOPE) for name in form if name.startswith(_SCOPE))
        body = {
            "name": forms.text(form, "name") or "",
            "role": form.get("role", ""),
            "scopes": scopes or None,
            "days": forms.number(form, "days", "Days"),
        }
        made = await visitor.api.send("POST", "/keys", body)
        title = f"The key {made['name']} is made."
        detail = "Copy it now: it is shown this once. Whoever has it may all that it may."
        return _shown_once(site, visitor, title=title, detail=detail, secret=made["key"])

    @page.post("/w/{workspace}/keys/{key}/revoke")
    async def revoke(key: str, visitor: Visitor = site.visitor("key.manage")) -> Response:
        done = await visitor.api.send("DELETE", f"/keys/{part(key)}")
        count = len(done["gateways"])
        return site.said(visitor, "The key is revoked.", detail=f"{count} of {count} gateways refuse it now.")

    @page.post("/w/{workspace}/keys/sessions/{session}/end")
    async def end(session: str, visitor: Visitor = site.visitor("session.manage")) -> Response:
        await visitor.api.send("DELETE", f"/sessions/{part(session)}")
        return site.said(visitor, "The session is ended.", detail="Within two seconds no gateway takes it any more.")

    @page.post("/w/{workspace}/keys/links")
    async def link(visitor: Visitor = site.visitor("session.read")) -> Response:
        made = await visitor.api.send("POST", "/sign-in-links")
        url = visitor.request.url
        title = "The link signs one browser in, as you."
        until = filters.instant(made["expires_at"])
        detail = (
            f"It works once, until {until:%H:%M:%S} UTC, and is shown this once. Whoever opens it may all that you may."
        )
        return _shown_once(
            site, visitor, title=title, detail=detail, secret=f"{url.scheme}://{url.netloc}{made['path']}"
        )


def _shown_once(site: Site, visitor: Visitor, **values: Any) -> Response:
    """A secret as an answer: above the page, which is made anew beneath it, or on a page of its own without scripts."""
    if not visitor.request.headers.get("hx-request"):
        return site.render(visitor, "pages/secret.html", back=visitor.href("/keys"), **values)
    response = site.render(visitor, "secret.html", **values)
    response.headers["hx-trigger-after-swap"] = msgspec.json.encode({"charkha:changed": {"go": None}}).decode()
    return response


async def _newest_sessions(visitor: Visitor) -> Facts:
    if not visitor.may("session.read"):
        return {"data": [], "next": None}
    found: Facts = await visitor.api.get("/sessions", limit=_SHOWN)
    return found


def _shown(sessions: Facts) -> Facts:
    """A page of sessions as its template takes it: with the state and the browser of each."""
    for each in sessions["data"]:
        each["browser"] = _browser(each["user_agent"])
    return {"sessions": sessions, "session_states": _states(sessions["data"])}


def _browser(agent: str) -> str:
    """ "Firefox 143 on Linux" out of what a browser says of itself; as it is, where that says nothing known."""
    name = next((f"{called} {found[1]}" for called, found in _known(agent) if found), None)
    system = next((called for word, called in _SYSTEMS if word in agent), None)
    return agent if name is None else f"{name} on {system}" if system else name


def _known(agent: str) -> list[tuple[str, re.Match[str] | None]]:
    return [(called, re.search(rf"{word}/(\d+)", agent)) for word, called in _BROWSERS]


def _states(things: list[Facts]) -> dict[str, str]:
    """Keys or sessions by id: active, expired or revoked."""
    return {each["id"]: _state(each) for each in things}


def _state(thing: Facts) -> str:
    if thing["revoked_at"]:
        return "revoked"
    until = filters.instant(thing["expires_at"])
    return "expired" if until and until <= now() else "active"


def _scopes(visitor: Visitor) -> list[tuple[str, list[str]]]:
    """What the visitor may give, by thing: `[("feedback", ["feedback.read", …]), …]`."""
    own = sorted(visitor.principal.permissions)
    return [(thing, list(acts)) for thing, acts in groupby(own, key=lambda each: each.partition(".")[0])]
