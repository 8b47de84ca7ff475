"""Taking engines out of service and back, and the ways of a variant as its form describes them."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.client.ways import alternative
from charkha.console import forms
from charkha.console.names import part
from charkha.console.site import Site, Visitor
from charkha.core.errors import Invalid


def add(page: APIRouter, site: Site) -> None:
    """Add the changes to a router of pages."""

    @page.post("/w/{workspace}/engines/{engine}/drain")
    async def drain(engine: str, visitor: Visitor = site.visitor("system.manage")) -> Response:
        made = await visitor.api.send("POST", f"/engines/{part(engine)}/drain")
        running = sum(each["pending"] for each in made["gateways"])
        detail = f"It answers {running} more, and then none." if running else "It answers none now."
        return site.said(visitor, f"{made['name']} gets no new requests.", detail=detail)

    @page.post("/w/{workspace}/engines/{engine}/resume")
    async def resume(engine: str, visitor: Visitor = site.visitor("system.manage")) -> Response:
        made = await visitor.api.send("POST", f"/engines/{part(engine)}/resume")
        return site.said(visitor, f"{made['name']} serves again.")


def ways(form: forms.Form) -> dict[str, Any]:
    """The fields of a variant about its ways; {} where nothing was typed. Raises Invalid naming the line."""
    found: dict[str, Any] = {}
    if lines := forms.lines(form, "alternatives"):
        found["alternatives"] = [_alternative(line) for line in lines]
    routing = {
        "order": forms.text(form, "order"),
        "hedge_ms": forms.whole(form, "hedge_ms", "Hedge"),
        "first_token_seconds": forms.whole(form, "first_token_seconds", "First byte"),
    }
    if routing := {name: value for name, value in routing.items() if value is not None}:
        found["routing"] = routing
    return found


def _alternative(line: str) -> dict[str, Any]:
    try:
        return alternative(line)
    except ValueError as error:
        raise Invalid(
            f"Other ways: {error}.", remedy="Write one a line, as openai:gpt-4o task=code.", param="alternatives"
        ) from None
