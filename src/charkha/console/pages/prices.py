"""Prices: what a model's tokens cost now, what they will and did, and which models in use nobody has given a price."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import forms, spending
from charkha.console.listing import Filter, Listing
from charkha.console.site import Site, Visitor

_PERMISSION = "price.read"
_STATES = {"current": "holds now", "upcoming": "will hold", "replaced": "replaced", "past": "past"}
_LISTING = Listing(
    "/prices",
    columns=(
        "id", "engine", "model", "currency", "prompt", "completion", "valid_from", "valid_until", "state", "subject",
        "created_at",
    ),
    filters=(
        Filter("model", "Model", hint="as the engine names it"),
        Filter("engine", "Engine"),
        Filter("state", "State", tuple(_STATES.items())),
    ),
)  # fmt: skip
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The pages."""
    page = site.router()

    @page.get("/w/{workspace}/prices")
    async def overview(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        found, models = await asyncio.gather(_LISTING.page(visitor), visitor.api.get("/prices/models"))
        missing = sum(bool(each["missing"]) for each in models)
        wanted = sorted({currency for each in models for currency in each["missing"]})
        values = {"models": models, "missing": missing, "wanted": wanted, "states": _STATES, "money": spending.money}
        values["typical"] = wanted[0] if wanted else _typical(models)
        return site.render(visitor, "pages/prices.html", page=found, listing=_LISTING, **values)

    @page.post("/w/{workspace}/prices")
    async def add(visitor: Visitor = site.visitor("price.manage")) -> Response:
        form = visitor.form
        body = {
            "subject": form.get("subject", ""),
            "engine": forms.text(form, "engine") or "",
            "model": forms.text(form, "model") or "",
            "currency": (forms.text(form, "currency") or "").upper(),
            "prompt": spending.units(form, "prompt", "Tokens read", is_money=True),
            "completion": spending.units(form, "completion", "Tokens written", is_money=True),
            "valid_from": spending.instant(form, "valid_from", "Begins"),
            "valid_until": spending.instant(form, "valid_until", "Ends"),
        }
        added = await visitor.api.send("POST", "/prices", body)
        told = f"{spending.money(added['prompt'], added['currency'])} for a million tokens read, "
        told += f"{spending.money(added['completion'], added['currency'])} for a million written."
        when = (
            "It is what requests are charged by from its beginning on."
            if body["valid_from"]
            else "It holds from now on."
        )
        return site.said(visitor, "The price is added.", detail=f"{told} {when}")

    return page


def _typical(models: list[Facts]) -> str:
    """The currency that prices are in, where there are any."""
    return next((each["price"]["currency"] for each in models if each["price"]), "")
