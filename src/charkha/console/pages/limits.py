"""Limits: how much a key, the workspace or the organisation may use, and what is spent, held and left of it now."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import forms, names, spending
from charkha.console.filters import plain
from charkha.console.listing import Filter, Listing
from charkha.console.live import Fragments
from charkha.console.site import Site, Visitor
from charkha.core.clock import now

_PERMISSION, _MANAGE = "limit.read", "limit.manage"
_LISTING = Listing(
    "/limits",
    columns=(
        "id", "subject", "subject_id", "measure", "window", "amount", "currency", "spent", "held", "remaining", "resets_at",
        "created_at",
    ),
    filters=(
        Filter("subject", "Holds for", tuple((each, each) for each in spending.SUBJECTS)),
        Filter("measure", "Limits", tuple(spending.MEASURES.items())),
        Filter("subject_id", "Key", hint="its id"),
    ),
)  # fmt: skip
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The pages."""
    page = site.router()
    _lists(page, site)
    _changes(page, site)
    return page


def _lists(page: APIRouter, site: Site) -> None:
    @page.get("/w/{workspace}/limits")
    async def overview(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        moving, keys = await asyncio.gather(_moving(visitor), _keys(visitor))
        listing = _with_keys(keys, visitor.query.get("subject_id"))
        values: Facts = {"listing": listing, "keys": keys, "measures": spending.MEASURES, "windows": spending.WINDOWS}
        return site.render(visitor, "pages/limits.html", **values, **moving)

    @page.get("/w/{workspace}/live/limits")
    async def live(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        async def make() -> Fragments:
            return {"bars": site.html(visitor, "pages/limits_now.html", **await _moving(visitor))}

        return site.stream(visitor, make)


def _changes(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/limits")
    async def create(visitor: Visitor = site.visitor(_MANAGE)) -> Response:
        form, measure = visitor.form, visitor.form.get("measure", "")
        is_money = measure == "money"
        subject, key_id = _subject(form.get("holds_for", ""))
        body = {
            "subject": subject,
            "key_id": key_id,
            "measure": measure,
            "window": "total" if measure == "concurrency" else form.get("window", ""),
            "amount": spending.units(form, "amount", "Amount", is_money=is_money),
            "currency": (forms.text(form, "currency") or "").upper() or None if is_money else None,
        }
        made = await visitor.api.send("POST", "/limits", body)
        return site.said(
            visitor, f"Limited to {spending.words(made)}.", detail="Every gateway holds callers to it now."
        )

    @page.post("/w/{workspace}/limits/{limit}/amount")
    async def change(limit: str, visitor: Visitor = site.visitor(_MANAGE)) -> Response:
        path = f"/limits/{names.part(limit)}"
        is_money = (await visitor.api.get(path))["measure"] == "money"
        amount = spending.units(visitor.form, "amount", "Amount", is_money=is_money)
        changed = await visitor.api.send("PATCH", path, {"amount": amount})
        detail = "What gateways had leased by then may still be spent."
        return site.said(visitor, f"The limit is {spending.words(changed)} now.", detail=detail)

    @page.post("/w/{workspace}/limits/{limit}/remove")
    async def remove(limit: str, visitor: Visitor = site.visitor(_MANAGE)) -> Response:
        done = await visitor.api.send("DELETE", f"/limits/{names.part(limit)}")
        count = len(done["gateways"])
        return site.said(visitor, "The limit is removed.", detail=f"{count} of {count} gateways hold nobody to it now.")


def _subject(holds_for: str) -> tuple[str, str | None]:
    """What the form's one choice means: the workspace, the organisation, or a key by its id."""
    kind, _, key_id = holds_for.partition(":")
    return kind, key_id or None


async def _moving(visitor: Visitor) -> Facts:
    """The page of limits as they stand now."""
    found, at = await _LISTING.page(visitor), now()
    actors = [f"key:{each['subject_id']}" for each in found["data"] if each["subject"] == "key"]
    return {
        "page": found,
        "bars": {each["id"]: spending.bar(each, at) for each in found["data"]},
        "called": await names.actor_names(visitor, actors),
        "words": spending,
    }


async def _keys(visitor: Visitor) -> list[Facts]:
    """The keys that can be limited."""
    found = await names.listed(visitor, "key.read", "/keys", limit=names.MOST)
    return [each for each in found if not each["revoked_at"]]


def _with_keys(keys: list[Facts], chosen: str | None) -> Listing:
    """The listing with the workspace's keys to choose from, where the visitor may see them."""
    choices = {each["id"]: f"{plain(each['name'], 40)} ({each['hint']})" for each in keys}
    if chosen and chosen not in choices:
        choices[chosen] = f"…{chosen[-8:]}"
    *others, key = _LISTING.filters
    own = Filter(key.name, key.label, tuple(choices.items())) if keys else key
    return Listing(_LISTING.path, _LISTING.columns, (*others, own))
