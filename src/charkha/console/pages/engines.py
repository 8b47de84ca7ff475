"""Engines: where answers come from, and the forms that add, change, key, check and remove those of the database.

A provider's key is typed here and never shown: the page tells that it is set, since when, and its last characters.
"""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import forms
from charkha.console.listing import Listing
from charkha.console.names import part
from charkha.console.site import Site, Visitor

_READ, _CHANGE = "system.read", "system.manage"
_COLUMNS = ("name", "source", "plugin", "url", "models", "key_ends", "key_set_at", "problem", "created_at")
_LISTING = Listing("/engines", columns=_COLUMNS)
_LENGTHS = (
    ("", "as clients send it"),
    ("max_tokens", "max_tokens"),
    ("max_completion_tokens", "max_completion_tokens"),
)
_PLUGINS = (("openai", "OpenAI-compatible"), ("anthropic", "Anthropic"))


def router(site: Site) -> APIRouter:
    """The page, and the changes that its forms ask for."""
    page = site.router()

    @page.get("/w/{workspace}/engines")
    async def overview(visitor: Visitor = site.visitor(_READ)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        found = await _LISTING.page(visitor)
        for each in found["data"]:
            each["lines"] = "\n".join(_line(ours, theirs) for ours, theirs in each["models"].items())
        return site.render(visitor, "pages/engines.html", page=found, plugins=_PLUGINS, lengths=_LENGTHS)

    _changes(page, site)
    _life(page, site)
    return page


def _changes(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/engines")
    async def add(visitor: Visitor = site.visitor(_CHANGE)) -> Response:
        form = visitor.form
        options = {name: value for name, value in _options(form).items() if value is not None}
        body = {"name": forms.text(form, "name") or "", "plugin": form.get("plugin", ""), "options": options}
        made = await visitor.api.send("POST", "/engines", body | {"key": forms.text(form, "key")})
        return site.said(
            visitor, f"{made['name']} is added.", detail="Every gateway can ask it. Check that it answers."
        )

    @page.post("/w/{workspace}/engines/{engine}")
    async def change(engine: str, visitor: Visitor = site.visitor(_CHANGE)) -> Response:
        before = await visitor.api.get(_path(engine))
        made = await visitor.api.send("PATCH", _path(engine), {"options": _options(visitor.form)})
        erased = before["key_ends"] and not made["key_ends"]
        detail = "Its address is another one, so its key is erased: set it again." if erased else ""
        return site.said(visitor, f"{made['name']} is changed.", detail=detail, mark="wrong" if erased else "ok")

    @page.post("/w/{workspace}/engines/{engine}/key")
    async def key(engine: str, visitor: Visitor = site.visitor(_CHANGE)) -> Response:
        made = await visitor.api.send("PUT", f"{_path(engine)}/key", {"key": forms.text(visitor.form, "key") or ""})
        return site.said(visitor, f"The key of {made['name']} is set.", detail=f"It ends with {made['key_ends']}.")


def _life(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/engines/{engine}/check")
    async def check(engine: str, visitor: Visitor = site.visitor(_CHANGE)) -> Response:
        seen = await visitor.api.send("POST", f"{_path(engine)}/check")
        told = f"{seen['name']} is ready." if seen["ready"] else f"{seen['name']} is not ready."
        detail = f"{seen['detail']}, after {seen['milliseconds']:.0f} ms"
        return site.said(visitor, told, detail=detail, mark="ok" if seen["ready"] else "wrong")

    @page.post("/w/{workspace}/engines/{engine}/remove")
    async def remove(engine: str, visitor: Visitor = site.visitor(_CHANGE)) -> Response:
        gone = await visitor.api.send("DELETE", _path(engine))
        count = len(gone["gateways"])
        return site.said(visitor, f"{engine} is removed.", detail=f"{count} of {count} gateways have forgotten it.")


def _options(form: forms.Form) -> dict[str, Any]:
    """The plugin's options as the form describes them; what was left empty is null, so that its default holds."""
    named = [line.partition("=") for line in forms.lines(form, "models") or []]
    models = {ours.strip(): theirs.strip() or ours.strip() for ours, _, theirs in named}
    options: dict[str, Any] = {"url": forms.text(form, "url"), "models": models or None}
    if (most := forms.whole(form, "max_tokens", "Longest answer")) is not None:
        options["max_tokens"] = most
    if "length" in form and form.get("plugin") != "anthropic":
        options["length"] = form["length"] or None
    return options


def _line(ours: str, theirs: str) -> str:
    return ours if ours == theirs else f"{ours} = {theirs}"


def _path(engine: str) -> str:
    return f"/engines/{part(engine)}"
