"""What keeps every page the visitor's own, on every page and form that there is: see `places`."""

import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from charkha.console.security import CSRF_FIELD
from charkha.govern.permissions import ROLES
from tests.console.places import Place, changes, pages, places, streams
from tests.console.reading import Node
from tests.console.world import Browser, World, parse, text_of

pytestmark = pytest.mark.anyio

LOADED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "form": "action",
    "iframe": "src",
    "source": "src",
    "a": "href",
}
OPEN = ("/console/sign-in", "/console/sign-in?next=/console/w/x", "/console/nowhere/at/all")
FORM = {"kind": "comment", "text": "by a stranger", "reason": "theft", "name": "stolen", "role": "viewer", "value": "1"}


def _nonce(answer: httpx.Response) -> str:
    found = re.search(r"script-src 'nonce-([\w-]{16,})';", answer.headers.get("content-security-policy", ""))
    assert found, f"{answer.url}: {answer.headers}"
    return found[1]


def _faults(html: str, nonce: str) -> list[str]:
    """What in a page its policy would refuse, or should never be there."""
    found = []
    for node in parse(html).walk():
        found += [
            f"<{node.tag}> has {name}" for name in node.attrs if name == "style" or name.startswith(("on", "hx-on"))
        ]
        if node.tag == "style" or (node.tag == "script" and (node.attrs.get("nonce") != nonce or node.text())):
            found.append(f"<{node.tag}> {node.attrs}")
        address = node.attrs.get(LOADED.get(node.tag, ""), "")
        if urlsplit(address).scheme not in ("", "data") or address.startswith(("//", "data:text")):
            found.append(f"<{node.tag}> leads to {address}")
    return found


async def test_every_page_has_its_policy_and_keeps_to_it(world: World) -> None:
    operator, faults = await world.browser("operator"), []
    for path in [*(place.path for place in pages(world)), *OPEN]:
        answer = await operator.get(path)
        if answer.status_code == 303:
            assert answer.content == b"", path
            continue
        nonce = _nonce(answer)
        faults += [f"{path}: {fault}" for fault in _faults(answer.text, nonce)]
        assert nonce != _nonce(await operator.get(path))
        headers = answer.headers
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
    assert faults == []


async def test_every_page_opens_for_its_operator(world: World) -> None:
    operator = await world.browser("operator")
    assert len(pages(world)) >= 4
    for place in pages(world):
        answer = await operator.get(place.path)
        # A page about one thing may find none in this world, and says so; it never fails.
        assert answer.status_code in ((200, 303, 404) if place.is_of_a_thing else (200, 303)), (
            f"{place}: {answer.status_code} {text_of(answer.text)[:300]}"
        )


async def test_nobody_without_a_session_sees_anything(world: World) -> None:
    for place in places(world):
        answer = await world.http().request(place.method, f"/console/w/default{place.path}")
        assert answer.status_code == 303, str(place)
        assert answer.headers["location"].startswith("/console/sign-in")
        assert answer.content == b""


async def test_a_viewer_sees_what_a_viewer_may_and_changes_nothing(world: World) -> None:
    viewer = await world.browser("viewer")
    before = await _trail(world)
    for place in (*pages(world), *changes(world)):
        answer = await (viewer.get(place.path) if place.method == "GET" else _change(viewer, place))
        if place.permission not in ROLES["viewer"]:
            assert answer.status_code == 403, f"{place}: {answer.status_code}"
            assert place.permission in answer.text
        else:
            assert answer.status_code < 500, str(place)
    assert await _trail(world) == before


async def test_a_change_without_this_sessions_token_is_refused(world: World) -> None:
    operator, other = await world.browser("operator"), await world.browser("operator")
    foreign = await other.csrf()
    before = await _trail(world)
    assert changes(world)
    for place in changes(world):
        for token in ({}, {CSRF_FIELD: ""}, {CSRF_FIELD: foreign}, {CSRF_FIELD: "ключ"}):
            answer = await operator.http.request(place.method, operator.href(place.path), data={**FORM, **token})
            assert answer.status_code == 403, f"{place} {token}: {answer.status_code}"
    ended = await operator.http.post("/console/sign-out", data={CSRF_FIELD: foreign})
    assert ended.status_code == 403
    assert await _trail(world) == before


async def test_a_stranger_finds_nothing_under_the_address_of_another_workspace(world: World) -> None:
    stranger = await world.browser("stranger")
    for place in (*pages(world), *streams(world)):
        answer = await stranger.http.get(f"/console/w/default{place.path}")
        assert answer.status_code in (403, 404), f"{place}: {answer.status_code}"
        _holds_nothing_of(world, answer, place)


async def test_a_stranger_finds_nothing_of_another_workspaces_under_their_own_address(world: World) -> None:
    stranger = await world.browser("stranger")
    for place in pages(world):
        _holds_nothing_of(world, await stranger.get(place.path), place)


async def test_a_stranger_changes_nothing_of_another_workspaces(world: World) -> None:
    stranger = await world.browser("stranger")
    before = await _trail(world), await _all(world)
    for place in changes(world):
        for path in (place.path, f"/console/w/default{place.path}"):
            answer = await _change(stranger, place, path)
            assert answer.status_code < 500, f"{place}: {answer.status_code}"
            _holds_nothing_of(world, answer, place)
    assert (await _trail(world), await _all(world)) == before


async def test_pages_of_one_workspace_name_nothing_of_another(world: World) -> None:
    operator = await world.browser("operator")
    for place in pages(world):
        html = (await operator.get(place.path)).text
        assert "foreign-" not in html, str(place)
        assert not [kind for kind, thing in _ids(world.foreign) if thing in html], str(place)


async def test_a_form_that_is_too_large_or_no_text_is_refused(world: World) -> None:
    browser = await world.browser()
    path = browser.href(f"/inferences/{world.things['inference']}/feedback")
    kind = {"content-type": "application/x-www-form-urlencoded"}
    large = await browser.http.post(path, content=b"csrf=" + b"x" * 2**20, headers=kind)
    assert large.status_code == 413
    binary = await browser.http.post(path, content=b"csrf=\xff\xfe", headers=kind)
    assert binary.status_code == 403


async def _change(browser: Browser, place: Place, path: str | None = None) -> httpx.Response:
    return await browser.post(path or place.path, FORM, scripted=False)


async def _trail(world: World) -> int:
    """How much the workspace's audit trail holds."""
    return len((await world.rest().get("/audit", params={"limit": 500})).json()["data"])


async def _all(world: World) -> list[Any]:
    """What the workspace's lists hold."""
    rest = world.rest()
    paths = ("endpoints", "runs", "feedback", "datasets", "versions", "evaluations", "releases", "keys", "aliases")
    return [(await rest.get(f"/{path}")).json() for path in paths]


def _ids(things: dict[str, str]) -> list[tuple[str, str]]:
    return [(kind, thing) for kind, thing in things.items() if len(thing) == 36]


def _holds_nothing_of(world: World, answer: httpx.Response, place: Place) -> None:
    """No id of the workspace `default` stands in an answer, but for one that the address itself named."""
    page = parse(answer.text)
    for node in page.walk():
        _forget_own_address(node, place.path)
    told = "".join(
        f"{node.attrs}" + "".join(str(child) for child in node.children if isinstance(child, str))
        for node in page.walk()
    )
    asked = str(answer.request.url) + place.path
    leaked = [kind for kind, thing in _ids(world.things) if thing not in asked and thing in told]
    assert leaked == [], f"{place} tells {leaked}"


def _forget_own_address(node: Node, path: str) -> None:
    node.attrs = {name: value for name, value in node.attrs.items() if path not in value}
