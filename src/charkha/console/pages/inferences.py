"""Inferences: the log of requests, searched and filtered, and one request with everything that is known of it."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console.listing import Filter, Listing
from charkha.console.site import Site, Visitor

_PERMISSION = "inference.read"
_STATUSES = tuple((code, code) for code in ("200", "400", "401", "404", "413", "429", "500", "502", "503", "504"))
_LISTING = Listing(
    "/inferences",
    columns=(
        "id", "started_at", "operation", "model", "purpose", "actor", "endpoint_id", "variant_id", "version_id", "engine",
        "status", "error_code", "finish_reason", "prompt_tokens", "completion_tokens", "first_token_ms", "duration_ms",
        "episode_id", "subject_id", "trace_id",
    ),
    filters=(
        Filter("q", "Text", hint="words in the request or the answer"),
        Filter("model", "Model", hint="as it was asked for"),
        Filter("status", "Status", _STATUSES),
        Filter("purpose", "Purpose", (("live", "live"), ("playground", "playground"), ("evaluation", "evaluation"))),
        Filter("min_duration_ms", "Slower than, ms", hint="1000", kind="number"),
        Filter("episode_id", "Episode"),
        Filter("version_id", "Version id"),
        Filter("endpoint_id", "Endpoint id"),
    ),
)  # fmt: skip


def router(site: Site) -> APIRouter:
    """The pages."""
    page = site.router()

    @page.get("/w/{workspace}/inferences")
    async def listed(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return _LISTING.export(visitor, export)
        found = await _LISTING.page(visitor)
        thoughts = await _feedback(visitor, [each["id"] for each in found["data"]])
        return site.render(visitor, "pages/inferences.html", page=found, listing=_LISTING, feedback=thoughts)

    @page.get("/w/{workspace}/inferences/{inference}")
    async def detail(inference: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        found = await visitor.api.get(f"/inferences/{inference}")
        feedback, lineage, version = await asyncio.gather(
            _feedback(visitor, [found["id"]]), _lineage(visitor, found["id"]), _version(visitor, found["version_id"])
        )
        return site.render(
            visitor, "pages/inference.html", found=found, feedback=feedback, lineage=lineage, version=version
        )

    @page.post("/w/{workspace}/inferences/{inference}/feedback")
    async def give(inference: str, visitor: Visitor = site.visitor("feedback.write")) -> Response:
        body: dict[str, Any] = {"inference_id": inference, "kind": visitor.form.get("kind", "")}
        if "value" in visitor.form:
            body["value"] = float(visitor.form["value"] or "nan")
        if "text" in visitor.form:
            body["text"] = visitor.form["text"]
        await visitor.api.send("POST", "/feedback", body)
        return site.said(visitor, f"Thank you: the {body['kind']} is recorded.")

    return page


async def _feedback(visitor: Visitor, ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Feedback by the inference that it is on, newest first."""
    by_id: dict[str, list[dict[str, Any]]] = {}
    if ids and visitor.may("feedback.read"):
        for each in (await visitor.api.get("/feedback", inference=ids, limit=500))["data"]:
            by_id.setdefault(each["inference_id"], []).append(each)
    return by_id


async def _lineage(visitor: Visitor, inference_id: str) -> dict[str, Any] | None:
    if not visitor.may("lineage.read"):
        return None
    found: dict[str, Any] = await visitor.api.get(f"/lineage/inference/{inference_id}")
    return found


async def _version(visitor: Visitor, version_id: str | None) -> dict[str, Any] | None:
    if version_id is None or not visitor.may("version.read"):
        return None
    found: dict[str, Any] = await visitor.api.get(f"/versions/{version_id}")
    return found
