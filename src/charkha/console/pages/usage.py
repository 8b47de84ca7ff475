"""Usage: what was asked, read, written and paid, over time as a picture and by model, engine, key or workspace as a table."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import consumption, names, spending
from charkha.console.api import Refused
from charkha.console.consumption import COLUMNS, RANGES, USUAL, Span
from charkha.console.filters import plain
from charkha.console.listing import Filter, Listing, check_form, exported
from charkha.console.site import Site, Visitor
from charkha.core.clock import now
from charkha.core.errors import Invalid

_PERMISSION = "usage.read"
_USUAL_BY, _MOST, _TOO_LARGE = "model", 100, 413
_SUMS = ("currency", "requests", "prompt_tokens", "completion_tokens", "cost")
_ONLY = ("key_id", "model", "engine")
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The page."""
    page = site.router()

    @page.get("/w/{workspace}/usage")
    async def usage(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        over, by = _span(visitor), _by(visitor)
        if form := visitor.query.get("export"):
            return await _export(visitor, over, by, form)
        return site.render(visitor, "pages/usage.html", **await _view(visitor, over, by))

    return page


def _span(visitor: Visitor) -> Span:
    query = visitor.query
    over = consumption.span(query.get("range", USUAL), query.get("since"), query.get("until"), now().date())
    if over is None:
        remedy = f"Choose a first day before the last, {consumption.MOST_DAYS} days at most."
        raise Invalid("There are no such days.", remedy=remedy, param="since")
    return over


def _by(visitor: Visitor) -> str:
    by = visitor.query.get("by", _USUAL_BY)
    if by not in COLUMNS:
        raise Invalid("Usage is by model, engine, key or workspace.", remedy="Choose one of them.", param="by")
    return by


async def _view(visitor: Visitor, over: Span, by: str) -> Facts:
    """Everything that the page shows."""
    whole, drawn, listing = await asyncio.gather(
        _rows(visitor, over, [by]), _over_time(visitor, over, by), _listing(visitor)
    )
    groups = consumption.grouped(whole, COLUMNS[by])
    called = await names.actor_names(visitor, list(groups)[:_MOST]) if by == "key" else {}
    by_time, in_layers = drawn
    column = COLUMNS[by] if in_layers and _has_layers(visitor, by) else None
    shown = dict(list(groups.items())[:_MOST])
    rest = [row for row in whole if row[COLUMNS[by]] not in shown]
    return {
        "over": over,
        "by": by,
        "listing": listing,
        "total": consumption.total(whole),
        "groups": shown,
        "rest": (len(groups) - len(shown), consumption.total(rest)),
        "called": called,
        "pictures": consumption.pictures(by_time, over, column, called),
        "in_layers": in_layers,
        "by_time": consumption.grouped(sorted(by_time, key=lambda row: row[over.unit]), over.unit),
        "linked": _linked(groups, by),
        "about": spending.about,
    }


async def _rows(visitor: Visitor, over: Span, by: list[str]) -> list[Facts]:
    only = {name: visitor.query.get(name) for name in _ONLY}
    found: list[Facts] = await visitor.api.get("/usage", by=by, since=str(over.first), until=str(over.last), **only)
    return found


async def _over_time(visitor: Visitor, over: Span, by: str) -> tuple[list[Facts], bool]:
    """Sums over time, in layers where the API has not too many of them to tell."""
    try:
        return await _rows(visitor, over, [over.unit, by]), True
    except Refused as refused:
        if refused.status != _TOO_LARGE:
            raise
        return await _rows(visitor, over, [over.unit]), False


def _has_layers(visitor: Visitor, by: str) -> bool:
    """Where one value alone is asked for there is nothing to lay upon one another."""
    return {"key": "key_id"}.get(by, by) not in visitor.query


def _linked(groups: Facts, by: str) -> Facts:
    """What the page is asked for where one looks into a group, by group."""
    if by == "key":
        ids = {actor: actor.removeprefix("key:") for actor in groups}
        return {actor: {"key_id": key, "by": "model"} for actor, key in ids.items() if names.is_key(actor)}
    if by in ("model", "engine"):
        return {value: {by: value, "by": "key"} for value in groups if value}
    return {}


async def _listing(visitor: Visitor) -> Listing:
    """The filters of the page."""
    choices = ["model", "engine", "key", *(["workspace"] if visitor.may("workspace.read") else [])]
    keys = await names.listed(visitor, "key.read", "/keys", limit=names.MOST)
    by_id = {each["id"]: f"{plain(each['name'], 40)} ({each['hint']})" for each in keys}
    if (chosen := visitor.query.get("key_id")) and chosen not in by_id:
        by_id[chosen] = f"…{chosen[-8:]}"
    ranges = tuple((name, told) for name, told in RANGES.items() if name != USUAL)
    return Listing(
        "/usage",
        columns=(),
        filters=(
            Filter("range", "Range", ranges, unset=RANGES[USUAL]),
            Filter("since", "Or from (UTC)", kind="date"),
            Filter("until", "To, included", kind="date"),
            Filter("by", "By", tuple((each, each) for each in choices if each != _USUAL_BY), unset=_USUAL_BY),
            Filter("model", "Model", hint="as it was asked for"),
            Filter("engine", "Engine"),
            Filter("key_id", "Key", tuple(by_id.items()) if keys else (), hint="its id"),
        ),
    )


async def _export(visitor: Visitor, over: Span, by: str, form: str) -> Response:
    """Each day with each group and currency, as the API tells it: money in micro-units."""
    check_form(form)
    columns = (over.unit, COLUMNS[by], *_SUMS)
    rows = await _rows(visitor, over, [over.unit, by])

    async def told() -> AsyncIterator[Facts]:
        for row in rows:
            yield {name: row[name] for name in columns}

    return exported("usage", columns, told(), form)
