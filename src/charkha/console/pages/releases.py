"""Releases: how versions take over traffic, what each step stood on, and the ways out: promote, cancel, roll back."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import rollouts, scorecards
from charkha.console.api import Refused
from charkha.console.listing import Filter, Listing
from charkha.console.live import Fragments
from charkha.console.names import actor_names, endpoint_names, found_or_none, listed, part
from charkha.console.site import Site, Visitor

_READ, _ACT = "release.read", "release.promote"
_STATUSES = (
    "preparing", "running", "promoted", "rolled_back", "superseded", "cancelled", "failed", "declined",
)  # fmt: skip
_COLUMNS = (
    "id", "candidate", "candidate_version_id", "endpoint_id", "status", "share", "steps", "judgement", "reason",
    "evaluation_id", "started_at", "step_started_at", "ended_at",
)  # fmt: skip
_FRAGMENTS = ("head", "now", "decisions")
_CAN_GO_BACK = ("running", "promoted", "superseded")
_ACTIONS_AUDITED = 50
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The pages, the live stream of one, and what can be done with a release."""
    page = site.router()

    @page.get("/w/{workspace}/releases")
    async def all_releases(visitor: Visitor = site.visitor(_READ)) -> Response:
        names = await endpoint_names(visitor)
        listing = _listing(names)
        if export := visitor.query.get("export"):
            return await listing.export(visitor, export)
        found, unknown = await _page(visitor, listing)
        return site.render(visitor, "pages/releases.html", page=found, listing=listing, names=names, unknown=unknown)

    @page.get("/w/{workspace}/releases/{release}")
    async def one_release(release: str, visitor: Visitor = site.visitor(_READ)) -> Response:
        return site.render(visitor, "pages/release.html", **await _view(visitor, release))

    @page.get("/w/{workspace}/live/releases/{release}")
    async def live(release: str, visitor: Visitor = site.visitor(_READ)) -> Response:
        await visitor.api.get(f"/releases/{part(release)}")

        async def make() -> Fragments:
            view = await _view(visitor, release)
            return {f"release-{name}": site.html(visitor, f"pages/release_{name}.html", **view) for name in _FRAGMENTS}

        return site.stream(visitor, make)

    _actions(page, site)
    return page


def _actions(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/releases/{release}/promote")
    async def promote(release: str, visitor: Visitor = site.visitor(_ACT)) -> Response:
        done = await visitor.api.send("POST", f"/releases/{part(release)}/promote", _reason(visitor))
        told = "It was promoted over the evidence, which the audit trail says, with your reason."
        return site.said(visitor, f"{done['candidate']} has all of the traffic.", detail=told)

    @page.post("/w/{workspace}/releases/{release}/cancel")
    async def cancel(release: str, visitor: Visitor = site.visitor(_ACT)) -> Response:
        done = await visitor.api.send("POST", f"/releases/{part(release)}/cancel", _reason(visitor))
        told = "What served before has all of the traffic."
        return site.said(visitor, f"The release of {done['candidate']} is cancelled.", detail=told)

    @page.post("/w/{workspace}/releases/{release}/rollback")
    async def roll_back(release: str, visitor: Visitor = site.visitor(_ACT)) -> Response:
        rollout = (await visitor.api.get(f"/releases/{part(release)}"))["rollout"]
        path = f"/endpoints/{rollout['endpoint_id']}/rollback"
        done = await visitor.api.send("POST", path, _reason(visitor))
        told = f"{done['rollback']['candidate']} was rolled back."
        return site.said(visitor, told, detail=rollouts.gateways(done))


def _reason(visitor: Visitor) -> Facts:
    return {"reason": visitor.form.get("reason", "")}


def _listing(names: dict[str, str]) -> Listing:
    filters = (
        Filter("endpoint", "Endpoint", tuple(names.items())),
        Filter("status", "Status", tuple((word, word.replace("_", " ")) for word in _STATUSES)),
        Filter("candidate", "Candidate", hint="name@number or an id"),
    )
    return Listing("/releases", _COLUMNS, filters)


async def _page(visitor: Visitor, listing: Listing) -> tuple[Facts, str]:
    """The page of the list; and where the candidate that is filtered by is none (yet, while it is typed), why."""
    try:
        return await listing.page(visitor), ""
    except Refused as refused:
        if refused.param != "version":
            raise
        return {"data": [], "next": None}, refused.message


async def _view(visitor: Visitor, release: str) -> Facts:
    """Everything that the page of a release shows."""
    found = await visitor.api.get(f"/releases/{part(release)}")
    rollout, decisions = found["rollout"], found["decisions"]
    judged = rollout["judgement"] or {}
    asked = {"target_kind": "rollout", "target_id": rollout["id"], "limit": _ACTIONS_AUDITED}
    endpoint, evaluation, trail = await asyncio.gather(
        found_or_none(visitor, "endpoint.read", f"/endpoints/{rollout['endpoint_id']}", variants="live"),
        _evaluation(visitor, rollout["evaluation_id"]),
        listed(visitor, "audit.read", "/audit", **asked),
    )
    evidence = judged.get("evidence", {})
    actors = {(each["action"], each["detail"].get("reason")): each["actor"] for each in trail}
    return {
        "rollout": rollout,
        "decisions": decisions,
        "judged": judged,
        "ladder": rollouts.ladder(rollout, decisions),
        "arms": rollouts.arms(evidence, rollout["rules"]),
        "bars": rollouts.bars(evidence),
        "endpoint": endpoint,
        "traffic": _traffic(endpoint),
        "can_go_back": _can_go_back(rollout, endpoint),
        "evaluation": evaluation,
        "actors": actors,
        "named": await actor_names(visitor, set(actors.values())),
        "rolling": rollout["status"] in rollouts.ROLLING,
        "words": rollouts,
        "scores": scorecards,
    }


async def _evaluation(visitor: Visitor, evaluation_id: str | None) -> Facts | None:
    if evaluation_id is None:
        return None
    found: Facts | None = await found_or_none(visitor, "evaluation.read", f"/evaluations/{evaluation_id}")
    return found


def _traffic(endpoint: Facts | None) -> list[Facts]:
    """Who has which per cent of the endpoint's traffic now, the greatest first."""
    if endpoint is None or not endpoint["plan"]:
        return []
    named = {variant["id"]: variant for variant in endpoint["variants"]}
    found = [
        {
            "name": named[share["variant_id"]]["name"],
            "version_id": named[share["variant_id"]]["version_id"],
            "variant_id": share["variant_id"],
            "share": share["share"],
        }
        for share in endpoint["plan"]["shares"]
        if share["share"] and share["variant_id"] in named
    ]
    return sorted(found, key=lambda each: -each["share"])


def _can_go_back(rollout: Facts, endpoint: Facts | None) -> bool:
    """Whether a rollback would take traffic from this release's candidate."""
    serving = {each["variant_id"] for each in _traffic(endpoint)}
    return rollout["status"] in _CAN_GO_BACK and rollout["candidate_variant_id"] in serving
