"""The page of usage: sums, pictures and tables that say the same, and what nobody knows said as unknown."""

import json
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from charkha.console.pages import usage
from charkha.core.clock import now
from tests.console.world import World, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio
DAY = 24 * 60


async def spend(world: World) -> None:
    """Requests that cost euros, dollars, nothing that is known, and one of twenty days ago."""
    key = world.things["key"]
    euro, dollar = {"currency": "EUR", "cost": 2_500_000}, {"currency": "USD", "cost": 1_000}
    await world.log(
        {"model": "translate", "actor": f"key:{key}", "prompt_tokens": 40_000, "completion_tokens": 2_000, **euro},
        {"model": "translate", "actor": f"key:{key}", "prompt_tokens": 1_000, **dollar},
        {"model": "translate", "engine": "remote", "prompt_tokens": 500},
        {"model": "ancient", "minutes": 20 * DAY},
    )


def drawn(html: str) -> list[dict[str, Any]]:
    """What the page's pictures are drawn from."""
    return [json.loads(unescape(each.attrs["data-plot"])) for each in parse(html).find_all("figure", class_="plot")]


def stats(html: str) -> dict[str, str]:
    """The sums at the top, by the first words of their names."""
    found = parse(html).find("dl", class_="stats").find_all("div", class_="stat")
    return {each.find("dt").text().split(":")[0]: each.find("dd").text() for each in found}


async def test_sums_by_model_keep_currencies_apart_and_tell_what_is_unknown(world: World) -> None:
    await spend(world)
    html = await (await world.browser("viewer")).page("/usage")
    assert heading(html) == "Usage"
    found = {row["Model"]: row for row in rows(html)}
    assert next(iter(found)) == "translate", "those with the most tokens first"
    told = found["translate"]
    assert (told["Requests"], told["Tokens read"], told["Tokens written"]) == ("3", "41 500", "2 002")
    assert told["Cost"] == "2.50 EUR 0.001 USD and 1 without a price"
    assert found["private"]["Cost"] == "unknown"
    sums = stats(html)
    assert (sums["Cost in EUR"], sums["Cost in USD"]) == ("2.53 EUR", "0.001 USD")
    assert sums["Cost unknown"].endswith("requests without a price")
    units = [each["y"] for each in drawn(html)]
    assert units == ["requests", "tokens", "EUR", "USD"]
    euros = next(each for each in drawn(html) if each["y"] == "EUR")
    assert sum(point[1] for series in euros["series"] for point in series["points"]) == pytest.approx(2.53)


async def test_a_range_and_a_filter_leave_what_they_say(world: World) -> None:
    await spend(world)
    browser, today = await world.browser("operator"), now().date()
    year = await browser.page("/usage", range="365")
    assert "ancient" in [row["Model"] for row in rows(year)]
    assert drawn(year)[0]["x"] == "month"
    assert len(drawn(year)[0]["series"][0]["points"]) == 12
    assert "ancient" not in [row["Model"] for row in rows(await browser.page("/usage", range="7"))]
    past = {"since": str(today - timedelta(days=21)), "until": str(today - timedelta(days=19))}
    assert [row["Model"] for row in rows(await browser.page("/usage", **past))] == ["ancient"]
    assert [row["Engine"] for row in rows(await browser.page("/usage", by="engine", model="translate"))] == [
        "local",
        "remote",
    ]
    one = await browser.page("/usage", key_id=world.things["key"])
    assert [row["Model"] for row in rows(one)] == ["translate"]
    assert "developer" in parse(one).find("select", id="filter-key_id").find("option", selected="").text()
    nothing = text_of(await browser.page("/usage", model="nobody asked for this"))
    assert "Nothing was used" in nothing
    for wrong in ({"by": "smile"}, {"since": "soon"}, {"since": str(today + timedelta(days=2))}, {"key_id": "x"}):
        assert (await browser.get("/usage", **wrong)).status_code in (400, 422), wrong


async def test_one_looks_into_a_model_and_a_key(world: World) -> None:
    await spend(world)
    browser = await world.browser("operator")
    into = links(await browser.page("/usage"))["translate"]
    by_key = (await browser.http.get(into)).text
    names = [row["Key"] for row in rows(by_key)]
    assert names[0] == "developer"
    assert set(names[1:]) == {"key:test"}, "who is no key has no page"
    assert links(by_key)["developer"].endswith(f"?model=translate&by=model&key_id={world.things['key']}")
    assert [row["Model"] for row in rows((await browser.http.get(links(by_key)["developer"])).text)] == ["translate"]


async def test_only_who_may_sees_the_usage_of_all_workspaces(world: World) -> None:
    owner, viewer = await world.browser("operator"), await world.browser("viewer")
    html = await owner.page("/usage", by="workspace")
    assert [row["Workspace"] for row in rows(html)] == ["default", "other"]
    assert links(html)["other"] == "/console/w/other/usage"
    assert (await viewer.get("/usage", by="workspace")).status_code == 403
    assert "workspace" not in parse(await viewer.page("/usage")).find("select", id="filter-by").text()
    foreign = await (await world.browser("stranger")).page("/usage")
    assert {row["Model"] for row in rows(foreign)} == {"foreign-support", "foreign-private"}


async def test_the_export_is_what_the_api_says(world: World) -> None:
    await spend(world)
    browser = await world.browser("viewer")
    answer = await browser.get("/usage", export="csv", model="translate")
    assert answer.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    head, *lines = answer.text.splitlines()
    assert head == "day,model,currency,requests,prompt_tokens,completion_tokens,cost"
    assert sorted(line.split(",", 1)[1] for line in lines) == [
        "translate,,1,500,1,",
        "translate,EUR,1,40000,2000,2500000",
        "translate,USD,1,1000,1,1000",
    ]
    told = (await browser.get("/usage", export="json", by="key", range="365")).json()
    assert {row["actor"] for row in told} >= {f"key:{world.things['key']}", "key:test"}
    assert {"month", "currency", "cost"} <= set(told[0])
    assert (await browser.get("/usage", export="pdf")).status_code == 400


async def test_the_table_says_what_the_pictures_show(world: World) -> None:
    html = await (await world.browser("viewer")).page("/usage")
    by_day = rows(html, table=1)
    counted = {row["Day"]: int(row["Requests"].replace(" ", "")) for row in by_day}
    assert list(counted) == sorted(counted, reverse=True)
    (requests, *_) = drawn(html)
    shown = [sum(series["points"][at][1] for series in requests["series"]) for at in range(30)]
    assert [each for each in shown if each] == list(counted.values())[::-1]


async def test_more_than_the_api_tells_apart_is_drawn_as_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from charkha.observe.usage import api

    monkeypatch.setattr(api, "MOST_ROWS", 3)
    monkeypatch.setattr(usage, "_MOST", 1)
    html = await (await world.browser("viewer")).page("/usage")
    assert [each["label"] for each in drawn(html)[0]["series"]] == ["all"]
    assert "too many of them" in text_of(html)
    assert [row["Model"] for row in rows(html)] == ["support", "1 others together"]


async def test_a_new_workspace_is_told_how_to_begin(world: World) -> None:
    owner = await world.browser("operator")
    assert (await world.rest().post("/workspaces", json={"name": "new"})).status_code == 201
    await world.wiring.snapshots.refresh()
    html = await owner.page("/console/w/new/usage")
    assert "Nothing was used yet" in text_of(html)
    assert not parse(html).find_all("table")
