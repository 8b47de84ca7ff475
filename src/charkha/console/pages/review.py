"""The review: one live answer after another that nobody has said anything of, judged by keyboard alone.

Where it stands is in the address: it goes on behind the inference `after`, so a reload keeps the place.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from charkha.console import conversation, judging, names
from charkha.console.site import Site, Visitor

_PERMISSION = "feedback.write"
_PATH = "/feedback/review"
_PAGES, _PAGE, _LOOKS, _MOST_FEEDBACK = 4, 100, 8, 500
"""How far one request looks: pages of inferences, and of those without feedback, how many are read whole."""
_SPOKEN = ("chat", "completion")


@dataclass(frozen=True)
class Found:
    """The next inference to judge, or none; how many were `passed`, and where to go on if there may be more."""

    inference: dict[str, Any] | None
    passed: int
    onwards: str | None


def router(site: Site) -> APIRouter:
    """The page, and what its buttons send."""
    page = site.router()

    @page.get("/w/{workspace}/feedback/review")
    async def review(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        place = {name: value for name, value in visitor.query.items() if name in ("endpoint", "after", "done")}
        return site.render(visitor, "pages/review.html", **await _view(visitor, place))

    @page.post("/w/{workspace}/feedback/review/{inference}")
    async def judge(inference: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        given = await visitor.api.send("POST", "/feedback", judging.body(inference, visitor.form))
        place = {"after": given["inference_id"], "done": str(_count(visitor.form.get("done")) + 1)}
        if visitor.form.get("endpoint"):
            place["endpoint"] = visitor.form["endpoint"]
        address = visitor.href(_PATH, **place)
        if not visitor.request.headers.get("hx-request"):
            return RedirectResponse(address, 303)
        response = site.render(visitor, "pages/review_item.html", given=given, **await _view(visitor, place))
        response.headers["hx-replace-url"] = address
        return response

    return page


async def _view(visitor: Visitor, place: dict[str, str]) -> dict[str, Any]:
    """What the page shows at a place: the next inference to judge, and the endpoints to choose from."""
    endpoints = await names.listed(visitor, "endpoint.read", "/endpoints", limit=names.MOST)
    silent = {each["id"] for each in endpoints if not each["keeps_content"]}
    found = await _next(visitor, place.get("endpoint"), place.get("after"), silent)
    inference = found.inference
    view: dict[str, Any] = {
        "endpoints": endpoints,
        "found": found,
        "inference": inference,
        "place": {"endpoint": place.get("endpoint", ""), "done": _count(place.get("done"))},
        "after": place.get("after"),
        "told": judging.told,
        "once": secrets.token_urlsafe(12),
    }
    if inference:
        endpoint = next((each for each in endpoints if each["id"] == inference["endpoint_id"]), None)
        view |= {
            "asked": conversation.asked(inference),
            "answered": conversation.answered(inference),
            "choices": judging.choices(endpoint["labels"] if endpoint else None, inference["answer"]),
        }
    return view


async def _next(visitor: Visitor, endpoint: str | None, after: str | None, silent: set[str]) -> Found:
    """The newest answer behind `after` that has no feedback and whose content is kept; looks at 400 inferences."""
    passed, looks = 0, 0
    for _ in range(_PAGES):
        wanted = {"purpose": "live", "status": 200, "endpoint_id": endpoint, "after": after, "limit": _PAGE}
        page = await visitor.api.get("/inferences", **wanted)
        judged = await _judged(visitor, [each["id"] for each in page["data"]])
        for each in page["data"]:
            if each["id"] not in judged and each["operation"] in _SPOKEN and each["endpoint_id"] not in silent:
                inference = await visitor.api.get(f"/inferences/{each['id']}")
                if inference["kept"]:
                    return Found(inference, passed, each["id"])
                looks += 1
                if looks == _LOOKS:
                    return Found(None, passed + 1, each["id"])
            passed += 1
        after = page["next"]
        if after is None:
            return Found(None, passed, None)
    return Found(None, passed, after)


async def _judged(visitor: Visitor, ids: Sequence[str]) -> set[str]:
    """Which of some inferences have feedback. Each round tells of at least one more, and nearly always of all."""
    judged: set[str] = set()
    while unknown := [each for each in ids if each not in judged]:
        page = await visitor.api.get("/feedback", inference_id=unknown, limit=_MOST_FEEDBACK)
        judged |= {each["inference_id"] for each in page["data"]}
        if page["next"] is None or not page["data"]:
            break
    return judged


def _count(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 7 else 0
