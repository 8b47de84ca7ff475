"""Keys, sessions and sign-in links: shown once, revoked everywhere, and nobody else's."""

from typing import Any

import httpx
import pytest

from charkha.console.pages import keys
from tests.console.world import Browser, World, buttons, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


def secret(answer: httpx.Response) -> str:
    """The secret that an answer shows."""
    return parse(answer.text).find("code", class_="secret").text()


async def made(browser: Browser, **typed: str) -> httpx.Response:
    """What answers to the form of a new key."""
    return await browser.post("/keys", {"name": "robot", "role": "developer", "days": "", **typed})


async def permitted(world: World, key: str, path: str) -> int:
    """The status with which the API answers a key."""
    return (await world.http().get(path, headers={"authorization": f"Bearer {key}"})).status_code


async def test_the_list_tells_the_state_of_each_key(world: World) -> None:
    browser = await world.browser("operator")
    html = await browser.page("/keys")
    found = {row["Key"]: row for row in rows(html)}
    assert list(found) == ["lost laptop", "viewer", "developer", "first application", "operator yours"]
    assert (found["lost laptop"]["State"], found["viewer"]["State"]) == ("revoked", "active")
    assert (found["developer"]["Role"], found["developer"]["Scopes"]) == ("developer", "all of its role")
    assert found["viewer"]["Expires"] == "never"
    assert parse(html).find_all("tr", id=f"key-{world.things['key']}")
    assert links(html)["developer"] == browser.href("/audit", actor=f"key:{world.things['key']}")
    for form in ("csv", "json"):
        exported = (await browser.get("/keys", export=form)).text
        assert "lost laptop" in exported
        assert not [key for key in world.seeded.keys.values() if key in exported]


async def test_a_secret_is_shown_in_the_answer_and_nowhere_else(world: World) -> None:
    browser = await world.browser("operator")
    answer = await made(browser, days="30", **{"scope:feedback.write": "on", "scope:inference.read": "on"})
    key = secret(answer)
    assert key.startswith("charkha_sk_")
    assert parse(answer.text).find("button", data_copy=key).text() == "Copy"
    assert key not in str(answer.headers)
    assert answer.headers["cache-control"] == "no-store"
    html = await browser.page("/keys")
    assert key not in html
    row = rows(html)[0]
    assert (row["Key"], row["Scopes"]) == ("robot", "feedback.write inference.read")
    assert row["Expires"] != "never"
    assert await permitted(world, key, "/inferences") == 200
    assert await permitted(world, key, "/endpoints") == 403


async def test_without_scripts_the_secret_has_a_page_of_its_own(world: World) -> None:
    browser = await world.browser("operator")
    answer = await browser.post("/keys", {"name": "robot", "role": "viewer"}, scripted=False)
    assert (answer.status_code, heading(answer.text)) == (200, "Shown once")
    assert "location" not in answer.headers
    assert await permitted(world, secret(answer), "/endpoints") == 200


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"name": ""}, "A key's name has 1 to 200 characters."),
        ({"role": "king"}, "There is no role 'king'."),
        ({"days": "soon"}, "Days: 'soon' is no number."),
        ({"days": "-1"}, "A key lives for more than 0 and at most 3,650 days."),
        ({"scope:everything": "on"}, "There is no scope 'everything'."),
    ],
)
async def test_a_wrong_key_is_refused(world: World, wrong: dict[str, str], refusal: str) -> None:
    browser = await world.browser("operator")
    before = len(rows(await browser.page("/keys")))
    assert refusal in text_of((await made(browser, **wrong)).text)
    assert len(rows(await browser.page("/keys"))) == before


async def test_nobody_makes_a_key_mightier_than_their_own(world: World) -> None:
    admin = await world.browser("stranger")
    assert "Your key lacks 'system.manage'" in text_of((await made(admin, role="owner")).text)
    offered = parse(await admin.page("/keys")).find("dialog", id="new-key")
    assert offered.find_all("input", name="scope:key.manage")
    assert not offered.find_all("input", name="scope:system.manage")


async def test_a_revoked_key_is_refused_by_every_gateway(world: World) -> None:
    browser = await world.browser("operator")
    key = secret(await made(browser))
    key_id = (await world.rest().get("/keys?limit=1")).json()["data"][0]["id"]
    path = f"/keys/{key_id}/revoke"
    assert browser.href(path) in forms(await browser.page("/keys"))
    assert await browser.said(path) == "The key is revoked.1 of 1 gateways refuse it now. ✕"
    assert await permitted(world, key, "/endpoints") == 401
    html = await browser.page("/keys")
    assert rows(html)[0]["State"] == "revoked"
    assert browser.href(path) not in forms(html)
    assert "There is no such key in this workspace, or it is revoked." in await browser.said(path)


async def test_who_revokes_their_own_key_is_warned_and_signed_out(world: World) -> None:
    key = (await world.rest().post("/keys", json={"name": "own", "role": "admin"})).json()
    client = world.http()
    await client.post("/console/sign-in", data={"credential": key["key"]})
    browser = Browser(client, "default")
    dialog = parse(await browser.page("/keys")).find("dialog", id=f"revoke-{key['id']}").text()
    assert "This is the key that you are signed in with" in dialog
    assert "is revoked" in await browser.said(f"/keys/{key['id']}/revoke")
    assert (await browser.get("/keys")).headers["location"].startswith("/console/sign-in?")


async def test_sessions_are_seen_and_ended(world: World) -> None:
    browser, viewer = await world.browser("operator"), await world.browser("viewer")
    html = await browser.page("/keys")
    found = {row["Key"].split()[0]: row for row in rows(html, table=1)}
    assert found["operator"]["Key"].endswith("this one")
    assert (found["viewer"]["State"], found["viewer"]["Browser"]) == ("signed in", "Browser of viewer")
    sessions = (await world.rest().get("/sessions")).json()["data"]
    theirs = next(each["id"] for each in sessions if each["key_name"] == "viewer")
    assert "The session is ended." in await browser.said(f"/keys/sessions/{theirs}/end")
    states = {row["Key"].split()[0]: row["State"] for row in rows(await browser.page("/keys"), table=1)}
    assert (states["viewer"], states["operator"]) == ("ended", "signed in")
    assert (await viewer.get("/")).status_code == 303
    assert "There is no such session" in await browser.said(f"/keys/sessions/{theirs}/end")


async def test_many_sessions_have_pages_of_their_own(world: World) -> None:
    browser = await world.browser("operator")
    for _ in range(12):
        await world.browser("viewer")
    html = await browser.page("/keys")
    assert len(rows(html, table=1)) == 10
    whole = await browser.page(links(html)["All sessions"])
    assert heading(whole) == "Sessions of the console"
    assert len(rows(whole)) >= 13
    assert len((await browser.get("/keys/sessions", export="json")).json()) == len(rows(whole))


async def test_many_keys_have_pages(world: World) -> None:
    async with world.tx() as tx:
        for number in range(60):
            await world.wiring.keys.create(tx, name=f"k{number}")
    browser = await world.browser("operator")
    newest = await browser.page("/keys")
    older = (await browser.http.get(links(newest)["Older"])).text
    found = [row["Key"] for row in rows(newest) + rows(older)]
    assert (len(rows(newest)), len(found), found[-1]) == (50, 65, "operator yours")
    assert set(found) > {f"k{number}" for number in range(60)}


async def test_a_sign_in_link_is_shown_once_and_works_once(world: World) -> None:
    browser = await world.browser("operator")
    answer = await browser.post("/keys/links")
    link = secret(answer)
    assert link.startswith(f"{browser.http.base_url}/console/sign-in#charkha_link_")
    assert "Whoever opens it may all that you may." in text_of(answer.text)
    for status in (303, 401):
        tried: Any = await world.http().post("/console/sign-in", data={"credential": link})
        assert tried.status_code == status


async def test_keys_are_for_who_may_see_them(world: World) -> None:
    for who in ("viewer", "developer"):
        browser = await world.browser(who)
        assert (await browser.get("/keys")).status_code == 403
        assert (await browser.get("/keys/sessions")).status_code == 403
        assert browser.href("/keys") not in await browser.page("/")
        for path in ("/keys", f"/keys/{world.things['key']}/revoke", f"/keys/sessions/{world.things['key']}/end"):
            assert (await browser.post(path, {"name": "x"}, scripted=False)).status_code == 403
    stranger = await world.browser("stranger")
    html = await stranger.page("/keys")
    assert [row["Key"] for row in rows(html)] == ["stranger yours"]
    assert "Make a key" in buttons(html)
    assert "There is no such key" in await stranger.said(f"/keys/{world.things['key']}/revoke")
    assert await permitted(world, world.seeded.keys["developer"], "/endpoints") == 200


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox 143 on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge 140 on Windows",
        ),
        ("Mozilla/5.0 (iPhone; CPU like Mac OS X) AppleWebKit/605 Version/18.1 Safari/604", "Safari 18 on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome 140 on Android"),
        ("curl/8.5", "curl/8.5"),
        ("", ""),
    ],
)
def test_a_browser_is_called_what_people_call_it(agent: str, told: str) -> None:
    assert keys._browser(agent) == told
