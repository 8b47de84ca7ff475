"""The components sheet: every component that pages are made of, in each state, light and dark side by side.

For whoever makes a page or changes one; the browser's tests look at it as well. It is in no menu.
"""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import judging
from charkha.console.conversation import Conversation, Part, Turn
from charkha.console.listing import Filter, Listing
from charkha.console.site import Site, Visitor

_LISTING = Listing(
    "/nothing",
    columns=("id",),
    filters=(
        Filter("q", "Text", hint="words in the request or the answer"),
        Filter("status", "Status", (("200", "200"), ("503", "503"))),
        Filter("min_duration_ms", "Slower than, ms", hint="1000", kind="number"),
    ),
)
HOSTILE = (
    "<script>alert('markup')</script><img src=x onerror=alert(1)>",
    "\u202egnirts desrever\u202c and \u2066isolated\u2069 and zero\u200bwidth",
    "control \0 \x07 \x1b[31m and tags \U000e0041\U000e0042",
    "{{ 7 * 7 }} {% raw %} ${7*7} javascript:alert(1) --></textarea></title>",
    "\u0639\u0631\u0628\u064a \u05e2\u05d1\u05e8\u05d9\u05ea \u4e2d\u6587 \U0001f469\u200d\U0001f4bb "
    "Z\u0351\u0343\u036a\u0302\u036ba\u0351\u0343\u036alg\u0489o",
    "one-word-without-an-end-" + "x" * 400,
)
"""Texts as a hostile user or model would write them."""
_TURNS = (
    Turn("system", (Part("text", "Say what it is."),)),
    Turn("user", (Part("text", "\n".join(HOSTILE)), Part("note", "A picture from elsewhere is not shown."))),
    Turn("assistant", (Part("call", '{"city": "Lima"}', name=HOSTILE[0]),)),
)
_CURVE = [[step, round(2.5 / (1 + step / 6), 3)] for step in range(0, 60, 2)]


def router(site: Site) -> APIRouter:
    """The page."""
    page = site.router()

    @page.get("/_components")
    async def components(visitor: Visitor = site.visitor("session.create")) -> Response:
        return site.render(visitor, "pages/components.html", **sample())

    return page


def sample() -> dict[str, Any]:
    """What the sheet shows."""
    curves = [
        {"label": "loss", "points": _CURVE},
        {"label": HOSTILE[0], "points": [[step, value / 2] for step, value in _CURVE]},
    ]
    layers = [
        {"label": label, "points": [[day * 86_400, (day * 7 + len(label)) % 11] for day in range(20_000, 20_014)]}
        for label in ("support", HOSTILE[0])
    ]
    return {
        "listing": _LISTING,
        "hostile": HOSTILE,
        "wave": [3, 5, None, 4, 8, 9, 7, 11],
        "columns": [0, 3, 9, 4, 1, 7],
        "curves": curves,
        "layers": layers,
        "asked": Conversation(_TURNS, left_out=3),
        "answered": Turn("assistant", (Part("text", HOSTILE[-1] * 60),)),
        "wanted": Turn("wanted instead", (Part("text", "question"),)),
        "thoughts": [
            {"kind": "thumb", "value": 1.0},
            {"kind": "thumb", "value": 0.0},
            {"kind": "score", "value": 0.75},
        ],
        "told": judging.told,
        "instant": "2026-01-02T03:04:05+00:00",
        "identifier": "01a1fd96-7575-71ca-9400-00c0ffee0042",
        "older": {"data": [1, 2, 3], "next": "01a1fd96-7575-71ca-9400-00c0ffee0042"},
    }
