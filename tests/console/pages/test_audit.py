"""The audit trail as people read it."""

import csv
import io
from datetime import timedelta

import pytest

from charkha.core.clock import now
from charkha.govern import audit
from tests.console.world import Browser, World, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def actions(browser: Browser, **query: str) -> list[str]:
    """The actions that the page shows."""
    return [row["Action"] for row in rows(await browser.page("/audit", **query))]


async def test_the_trail_names_who_did_what(world: World) -> None:
    browser = await world.browser("operator")
    await browser.post("/keys", {"name": "robot", "role": "viewer"})
    html = await browser.page("/audit")
    assert heading(html) == "Audit"
    newest = rows(html)[0]
    assert (newest["Who"], newest["Action"]) == ("operator", "key.created")
    assert newest["Target"].startswith("key ")
    assert newest["Detail"].startswith("name robot, role viewer")
    assert '"role": "viewer"' in newest["Detail"]


async def test_each_filter_leaves_what_it_says(world: World) -> None:
    browser, things = await world.browser("operator"), world.things
    assert set(await actions(browser, action="version.registered")) == {"version.registered"}
    assert await actions(browser, target_id=things["private_endpoint"]) == ["endpoint.created"]
    assert "release.start" in await actions(browser, target_kind="rollout")
    everything = len(rows(await browser.page("/audit")))
    assert len(await actions(browser, actor=f"key:{things['viewer_key']}")) == 0
    assert len(await actions(browser, actor="key:seed")) < everything
    today, tomorrow = f"{now():%Y-%m-%d}", f"{now() + timedelta(days=1):%Y-%m-%d}"
    assert await actions(browser, since=tomorrow) == []
    assert len(await actions(browser, since=f"{now() - timedelta(days=1):%Y-%m-%d}", until=tomorrow)) == everything
    assert "Nothing matches" in text_of(await browser.page("/audit", until="2020-01-01"))
    assert parse(await browser.page("/audit", since=today)).find("input", name="since").attrs["value"] == today
    refused = await browser.get("/audit", since="yesterday")
    assert (refused.status_code, heading(refused.text) != "") == (422, True)


async def test_targets_lead_to_their_pages(world: World) -> None:
    browser, things = await world.browser("operator"), world.things
    for query, target, path in (
        ({"target_id": things["endpoint"]}, things["endpoint"], "/endpoints/{}"),
        ({"target_id": things["version"]}, things["version"], "/versions/{}"),
        ({"target_id": things["release"]}, things["release"], "/releases/{}"),
        ({"target_id": things["revoked_key"]}, things["revoked_key"], "/keys#key-{}"),
        ({"target_id": things["dataset_version"]}, things["dataset_version"], "/dataset-versions/{}"),
    ):
        found = links(await browser.page("/audit", **query))
        assert found[target[-8:]] == browser.href(path.format(target)), query
    await browser.post("/endpoints/private/delete", {"name": "private"})
    html = await browser.page("/audit", action="endpoint.deleted")
    gone = things["private_endpoint"]
    assert links(html)[gone[-8:]] == browser.href("/audit", target_id=gone)


async def test_what_people_wrote_stays_text(world: World) -> None:
    browser = await world.browser("operator")
    hostile = "<b>x</b>\u202egnp"
    async with world.tx() as tx:
        await audit.record(tx, "test.done", "alias", f"{hostile}@a", name=hostile, nothing=None, many=["y"] * 200)
    html = await browser.page("/audit", action="test.done")
    assert "<b>x</b>" not in html
    assert "\u202e" not in parse(html).find("tbody").text()
    (row,) = rows(html)
    assert row["Detail"].startswith('many ["y",')
    assert "…" in row["Detail"]
    assert '"name": "<b>x</b>U+202Egnp"' in row["Detail"]


async def test_the_trail_has_pages_and_an_export(world: World) -> None:
    async with world.tx() as tx:
        for number in range(120):
            await audit.record(tx, "test.done", "thing", number, number=number)
    browser = await world.browser("operator")
    newest = await browser.page("/audit", action="test.done")
    older = (await browser.http.get(links(newest)["Older"])).text
    seen = [row["Target"] for row in rows(newest) + rows(older)]
    assert (len(seen), len(set(seen)), links(older)["Older"] != links(newest)["Older"]) == (100, 100, True)
    exported = (await browser.get("/audit", action="test.done", export="csv")).text
    found = list(csv.DictReader(io.StringIO(exported)))
    assert {row["detail"] for row in found} == {f'{{"number":{number}}}' for number in range(120)}
    assert {row["actor"] for row in found} == {"key:test"}


async def test_the_trail_is_for_who_may_read_it_and_of_their_own_workspace(world: World) -> None:
    for who in ("viewer", "developer"):
        browser = await world.browser(who)
        assert (await browser.get("/audit")).status_code == 403
        assert browser.href("/audit") not in await browser.page("/")
    stranger = await world.browser("stranger")
    assert await actions(stranger, target_id=world.things["endpoint"]) == []
    assert "endpoint.created" in await actions(stranger, target_id=world.foreign["endpoint"])
