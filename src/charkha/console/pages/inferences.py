"""Inferences: the log of requests, searched and filtered, and one request with everything that is known of it."""

import asyncio
import secrets
from dataclasses import replace
from typing import Any

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import conversation, judging, names, places, spending
from charkha.console.listing import Filter, Listing
from charkha.console.site import Site, Visitor

_PERMISSION = "inference.read"
_STATUSES = tuple(
    (code, code) for code in ("200", "400", "401", "404", "413", "429", "499", "500", "502", "503", "504")
)
_LISTING = Listing(
    "/inferences",
    columns=(
        "id", "started_at", "operation", "model", "purpose", "actor", "endpoint_id", "variant_id", "version_id", "engine",
        "status", "error_code", "finish_reason", "prompt_tokens", "completion_tokens", "cost", "currency", "first_token_ms",
        "duration_ms", "episode_id", "subject_id", "trace_id", "cache", "saved",
    ),
    filters=(
        Filter("q", "Text", hint="words in the request or the answer"),
        Filter("endpoint_id", "Endpoint"),
        Filter("model", "Model", hint="as it was asked for"),
        Filter("status", "Status", _STATUSES),
        Filter("failed", "Failed", (("true", "yes: 5xx, or died"), ("false", "no"))),
        Filter("purpose", "Purpose", (("live", "live"), ("playground", "playground"), ("evaluation", "evaluation"))),
        Filter("min_duration_ms", "Slower than, ms", hint="1000", kind="number"),
        Filter("cache", "Cache", (("hit", "hit"), ("semantic", "alike"), ("miss", "miss"))),
        Filter("episode_id", "Episode"),
        Filter("subject_id", "Subject"),
        Filter("version_id", "Version id"),
        Filter("variant_id", "Variant id"),
    ),
)  # fmt: skip


def router(site: Site) -> APIRouter:
    """The pages."""
    page = site.router()

    @page.get("/w/{workspace}/inferences")
    async def listed(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        found, listing = await asyncio.gather(_LISTING.page(visitor), _with_endpoints(visitor))
        feedback = await _feedback(visitor, [each["id"] for each in found["data"]])
        return site.render(
            visitor, "pages/inferences.html", page=found, listing=listing, feedback=feedback, told=judging.told
        )

    @page.get("/w/{workspace}/inferences/{inference}")
    async def detail(inference: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        return site.render(visitor, "pages/inference.html", **await _view(visitor, inference))

    @page.post("/w/{workspace}/inferences/{inference}/feedback")
    async def give(inference: str, visitor: Visitor = site.visitor("feedback.write")) -> Response:
        given = await visitor.api.send("POST", "/feedback", judging.body(inference, visitor.form))
        return site.said(visitor, f"Recorded: {judging.told(given)}.")

    return page


async def _with_endpoints(visitor: Visitor) -> Listing:
    """The listing with this workspace's endpoints to choose from."""
    choices = await names.endpoint_names(visitor)
    if (chosen := visitor.query.get("endpoint_id")) and chosen not in choices:
        choices[chosen] = f"…{chosen[-8:]}"
    filters = [
        replace(each, choices=tuple(choices.items())) if each.name == "endpoint_id" and choices else each
        for each in _LISTING.filters
    ]
    return replace(_LISTING, filters=filters)


async def _view(visitor: Visitor, inference: str) -> dict[str, Any]:
    """One inference, and what is known of it elsewhere."""
    found = await visitor.api.get(f"/inferences/{names.part(inference)}")
    feedback, lineage, version, endpoint = await asyncio.gather(
        _feedback(visitor, [found["id"]]),
        names.found_or_none(visitor, "lineage.read", f"/lineage/inference/{found['id']}", depth=4),
        _of(visitor, "version.read", "/versions", found["version_id"]),
        _of(visitor, "endpoint.read", "/endpoints", found["endpoint_id"], variants="live"),
    )
    given = feedback.get(found["id"], [])
    actors = await names.actor_names(visitor, [found["actor"], *(each["actor"] for each in given)])
    came_of = None if lineage is None else places.groups(lineage["made"])
    return {
        "found": found,
        "names": await places.names(visitor, came_of or []),
        "asked": conversation.asked(found),
        "answered": conversation.answered(found),
        "raw": _raw(found["request"]),
        "feedback": given,
        "told": judging.told,
        "choices": judging.choices(endpoint and endpoint["labels"], found["answer"]),
        "once": secrets.token_urlsafe(12),
        "came_of": came_of,
        "actors": actors,
        "version": version,
        "endpoint": endpoint,
        "spoken": await _spoken(visitor, found),
        "about": spending.about,
        "money": spending.money,
        "is_key": names.is_key,
    }


async def _spoken(visitor: Visitor, found: dict[str, Any]) -> str | None:
    """The version of a prompt that the request was made with, as `name@number`."""
    if found["prompt_version_id"] is None or found["endpoint_id"] is None:
        return None
    path = f"/endpoints/{found['endpoint_id']}/variants"
    variants = await names.listed(visitor, "endpoint.read", path, id=found["variant_id"])
    return next((each["prompt"] for each in variants), None)


def _raw(request: Any) -> str:
    return request if isinstance(request, str) else msgspec.json.format(msgspec.json.encode(request), indent=2).decode()


async def _feedback(visitor: Visitor, ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Feedback by the inference that it is on, newest first."""
    by_id: dict[str, list[dict[str, Any]]] = {}
    if ids and visitor.may("feedback.read"):
        for each in (await visitor.api.get("/feedback", inference_id=ids, limit=500))["data"]:
            by_id.setdefault(each["inference_id"], []).append(each)
    return by_id


async def _of(visitor: Visitor, permission: str, path: str, thing: str | None, **query: Any) -> Any:
    return await names.found_or_none(visitor, permission, f"{path}/{thing}", **query) if thing else None
