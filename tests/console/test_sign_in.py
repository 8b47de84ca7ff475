"""Signing in and out: by a link that works once, by a key, to nowhere but the console, and for as long as the key lives."""

from http.cookies import SimpleCookie

import httpx
import pytest

from charkha.console.security import COOKIE
from tests.console.world import World, parse, text_of

pytestmark = pytest.mark.anyio

ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/console/",
    "/\\evil.example",
    "/console/\\evil.example",
    "/console",
    "/metrics",
    "javascript:alert(1)",
    "/console/w/x\r\nSet-Cookie: a=b",
    "/console/sign-in?next=/console/",
    " /console/",
    "/console/\u202e",
    "",
]


async def _sign_in(http: httpx.AsyncClient, credential: str, to: str = "") -> httpx.Response:
    return await http.post("/console/sign-in", data={"credential": credential, "next": to})


async def _link(world: World, who: str = "developer") -> str:
    made = await world.rest(who).post("/sign-in-links")
    assert made.status_code == 201
    return str(made.json()["token"])


async def test_a_link_signs_in_once(world: World) -> None:
    token, http = await _link(world), world.http()
    first = await _sign_in(http, token)
    assert (first.status_code, first.headers["location"]) == (303, "/console/")
    home = await http.get("/console/", follow_redirects=True)
    assert home.url.path == "/console/w/default/"
    again = await _sign_in(world.http(), token)
    assert again.status_code == 401
    assert COOKIE not in again.headers.get("set-cookie", "")


async def test_a_whole_link_may_be_pasted(world: World) -> None:
    answer = await _sign_in(world.http(), f"  http://127.0.0.1:8420/console/sign-in#{await _link(world)} ")
    assert answer.status_code == 303


async def test_a_key_signs_in_and_the_session_may_what_the_key_may(world: World) -> None:
    browser = await world.browser("viewer")
    nav = parse(await browser.page("/")).find("nav").text()
    assert "Inferences" in nav
    assert "Keys" not in nav
    refused = await browser.post(f"/inferences/{world.things['inference']}/feedback", {"kind": "thumb", "value": "1"})
    assert "may not do 'feedback.write'" in text_of(refused.text)


@pytest.mark.parametrize(
    "credential", ["", "x", "charkha_sk_wrong", "charkha_link_", "charkha_link_a.b.c", "charkha_it_x.y", "ключ", "\0"]
)
async def test_wrong_credentials_are_told_so_and_get_no_cookie(world: World, credential: str) -> None:
    answer = await _sign_in(world.http(), credential, "/console/w/default/runs")
    assert answer.status_code in (400, 401)
    page = parse(answer.text)
    assert page.find(role="alert").text()
    assert page.find("input", name="next").attrs["value"] == "/console/w/default/runs"
    assert "set-cookie" not in answer.headers


async def test_the_cookie_is_for_this_host_and_never_for_scripts(world: World) -> None:
    answer = await _sign_in(world.http(), world.seeded.keys["developer"])
    cookie = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
    assert COOKIE.startswith("__Host-")
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "strict", "/")
    assert cookie["domain"] == ""
    assert 29 * 86400 < int(cookie["max-age"]) <= 30 * 86400


async def test_one_comes_back_to_where_one_wanted_to_go(world: World) -> None:
    http, wanted = world.http(), "/console/w/default/inferences?q=crash&status=200"
    turned = await http.get(wanted)
    assert turned.status_code == 303
    form = parse((await http.get(turned.headers["location"])).text).find("form")
    answer = await _sign_in(http, world.seeded.keys["developer"], form.find("input", name="next").attrs["value"])
    assert answer.headers["location"] == wanted


@pytest.mark.parametrize("to", ELSEWHERE)
async def test_signing_in_leads_nowhere_but_into_the_console(world: World, to: str) -> None:
    answer = await _sign_in(world.http(), world.seeded.keys["viewer"], to)
    assert answer.headers["location"] == "/console/"
    page = await world.http().get("/console/sign-in", params={"next": to})
    assert parse(page.text).find("input", name="next").attrs["value"] == "/console/"


async def test_signing_out_ends_the_session_itself(world: World) -> None:
    browser = await world.browser()
    cookie = browser.cookie
    answer = await browser.post("/console/sign-out", scripted=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
    assert SimpleCookie(answer.headers["set-cookie"])[COOKIE]["max-age"] == "0"
    stolen = world.http(cookies={COOKIE: cookie})
    assert (await stolen.get("/console/w/default/")).status_code == 303


async def test_a_link_of_another_site_comes_in_again_from_here(world: World) -> None:
    """SameSite=Strict keeps the cookie back on the first request only: the page asks for itself once more."""
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    answer = await world.http().get('/console/w/default/inferences?q="><script>', headers=headers)
    assert answer.status_code == 200
    refresh = parse(answer.text).find("meta", http_equiv="refresh").attrs["content"]
    assert refresh.startswith("0; url=/console/w/default/inferences?q=")
    assert not [node for node in parse(answer.text).find_all("script") if not node.attrs.get("src")]
    browser = await world.browser()
    inside = await browser.http.get("/console/w/default/inferences", headers=headers)
    assert "Newest first." in text_of(inside.text)


async def test_another_site_cannot_sign_anybody_in(world: World) -> None:
    http = world.http(headers={"origin": "https://evil.example"})
    assert (await _sign_in(http, world.seeded.keys["viewer"])).status_code == 403


async def test_a_session_ends_with_its_key(world: World) -> None:
    browser = await world.browser("viewer")
    revoked = await world.rest().delete(f"/keys/{world.things['viewer_key']}")
    assert revoked.status_code == 200
    answer = await browser.get("/inferences")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/sign-in?next=")
    scripted = await browser.http.get(browser.href("/inferences"), headers={"hx-request": "true"})
    assert (scripted.status_code, scripted.headers["hx-redirect"][:21]) == (204, "/console/sign-in?next")


async def test_a_session_that_an_operator_ends_is_over_within_two_seconds(world: World) -> None:
    import asyncio

    browser, operator = await world.browser(), world.rest()
    await browser.page("/")
    sessions = (await operator.get("/sessions")).json()["data"]
    mine = next(each for each in sessions if each["user_agent"] == "Browser of developer")
    assert (await operator.delete(f"/sessions/{mine['id']}")).status_code == 200
    async with asyncio.timeout(2.5):
        while (await browser.get("/")).status_code == 200:
            await asyncio.sleep(0.1)


async def test_what_a_browser_says_of_itself_is_stored_as_text_alone(world: World) -> None:
    http = world.http(headers={"user-agent": "<script>alert(1)</script>\t" + "x" * 1000})
    await _sign_in(http, world.seeded.keys["developer"])
    agents = [each["user_agent"] for each in (await world.rest().get("/sessions")).json()["data"]]
    assert agents[0].startswith("<script>alert(1)</script>")
    assert len(agents[0]) == 300
    assert agents[0].isprintable()
