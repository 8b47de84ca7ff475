"""The door for pages' scripts: the REST API with the session's rights, streaming, and nothing that a header could widen."""

import time
from pathlib import Path

import httpx
import msgspec
import pytest

from charkha.console.security import COOKIE, CSRF_HEADER
from charkha.observe.shipper import Shipper
from charkha.testing.serving import serving
from tests.console.world import Browser, World

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


def _question(world: World, **more: object) -> dict[str, object]:
    messages = [{"role": "user", "content": "one two three four"}]
    return {"model": world.things["endpoint_name"], "messages": messages, **more}


async def _asked(
    browser: Browser, method: str, path: str, workspace: str = "default", **more: object
) -> httpx.Response:
    headers = {CSRF_HEADER: await browser.csrf(), **more.pop("headers", {})}  # type: ignore[dict-item]
    return await browser.http.request(method, f"/console/api/{workspace}{path}", headers=headers, **more)  # type: ignore[arg-type]


async def test_a_page_asks_as_its_visitor(world: World) -> None:
    browser = await world.browser()
    listed = await _asked(browser, "GET", "/endpoints")
    assert world.things["endpoint"] in listed.text
    answered = await _asked(browser, "POST", CHAT, json=_question(world))
    assert answered.json()["choices"][0]["message"]["content"].endswith("echo: one two three four")
    assert "x-charkha-endpoint" in answered.headers or "x-charkha-inference-id" in answered.headers


async def test_an_answer_streams_as_it_comes(world: World) -> None:
    browser, token = await world.browser(), await (await world.browser()).csrf()
    token = await browser.csrf()
    world.model.pause = 0.15
    came: list[float] = []
    async with serving(world.app) as address, httpx.AsyncClient(base_url=address, timeout=10) as http:
        headers = {"cookie": f"{COOKIE}={browser.cookie}", CSRF_HEADER: token}
        body = _question(world, stream=True)
        async with http.stream("POST", f"/console/api/default{CHAT}", headers=headers, json=body) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            text = ""
            async for chunk in answer.aiter_text():
                came.append(time.monotonic())
                text += chunk
    assert text.rstrip().endswith("data: [DONE]")
    assert len(came) >= 5
    assert came[-1] - came[0] > 3 * world.model.pause


@pytest.mark.parametrize("token", [None, "", "x" * 43])
async def test_a_change_needs_the_pages_token(world: World, token: str | None) -> None:
    browser = await world.browser()
    headers = {} if token is None else {CSRF_HEADER: token}
    for method, path in (("POST", CHAT), ("POST", "/feedback"), ("DELETE", f"/endpoints/{world.things['endpoint']}")):
        answer = await browser.http.request(method, f"/console/api/default{path}", headers=headers, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "stale_page")


async def test_nobody_passes_without_a_session(world: World) -> None:
    bearer = {"authorization": f"Bearer {world.seeded.keys['operator']}"}
    for headers in ({}, bearer, {"cookie": f"{COOKIE}=charkha_cs_x.y.z"}):
        answer = await world.http().get("/console/api/default/endpoints", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["remedy"]


async def test_a_visitor_may_no_more_than_their_key(world: World) -> None:
    viewer = await world.browser("viewer")
    assert (await _asked(viewer, "GET", "/inferences")).status_code == 200
    assert (await _asked(viewer, "POST", CHAT, json=_question(world))).status_code == 403
    assert (await _asked(viewer, "GET", "/keys")).status_code == 403


@pytest.mark.parametrize("smuggled", ["other", "default", ""])
async def test_the_workspace_is_the_addresss_alone(world: World, smuggled: str) -> None:
    operator = await world.browser("operator")
    for workspace, things, others in (("default", world.things, world.foreign), ("other", world.foreign, world.things)):
        answer = await _asked(
            operator,
            "GET",
            "/endpoints",
            workspace,
            headers={"x-charkha-workspace": smuggled, "X-Charkha-Workspace": smuggled},
        )
        assert things["endpoint"] in answer.text
        assert others["endpoint"] not in answer.text


async def test_no_other_credential_is_passed_on(world: World) -> None:
    viewer = await world.browser("viewer")
    stronger = {"authorization": f"Bearer {world.seeded.keys['operator']}"}
    assert (await _asked(viewer, "GET", "/keys", headers=stronger)).status_code == 403


async def test_a_stranger_finds_no_door_into_another_workspace(world: World) -> None:
    stranger = await world.browser("stranger")
    for path in ("/endpoints", f"/inferences/{world.things['inference']}", "/status", "/console/w/default/"):
        assert (await _asked(stranger, "GET", path)).status_code in (401, 403)
    for workspace in ("", "nowhere", "other%2F..%2Fdefault", "..", "default%00"):
        answer = await _asked(stranger, "GET", f"/inferences/{world.things['inference']}", workspace)
        assert answer.status_code in (401, 403, 404)
        assert world.things["endpoint"] not in answer.text


async def test_the_door_does_not_lead_into_itself(world: World) -> None:
    operator = await world.browser("operator")
    answer = await _asked(operator, "GET", "/console/api/default/endpoints")
    assert answer.status_code == 401


async def test_what_the_playground_asks_is_logged_as_such(world: World) -> None:
    """Whatever purpose a script claims: it is neither evidence for a release nor traffic to learn from unseen."""
    browser = await world.browser()
    answer = await _asked(browser, "POST", CHAT, json=_question(world), headers={"x-charkha-purpose": "live"})
    assert answer.status_code == 200
    record = await _shipped(world, world.home / "spool")
    assert record["purpose"] == "playground"
    assert record["actor"] == f"key:{world.things['key']}"


async def _shipped(world: World, spool: Path) -> dict[str, object]:
    """The newest inference, once the spool has been shipped."""
    shipper = Shipper(world.wiring.database, spool)
    assert await shipper.ship_once() == 1
    shipper.close()
    found: list[dict[str, object]] = msgspec.json.decode(
        (await world.rest().get("/inferences", params={"limit": 1})).content
    )["data"]
    return found[0]
