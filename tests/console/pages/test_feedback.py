"""The page of feedback: the list with its filters, and the trend in pictures and in figures."""

import json
from datetime import timedelta

import pytest

from charkha.core.clock import now
from tests.console.world import World, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def test_the_list_tells_what_was_said_on_what_and_by_whom(world: World) -> None:
    html = await (await world.browser("operator")).page("/feedback")
    assert heading(html) == "Feedback"
    found = rows(html, table=1)
    things = world.things
    assert [row["Says"] for row in found] == ["resolved 1", "preferred", "score 0.75", "comment", "corrected", "wrong"]
    assert [row["On"] for row in found[:3]] == ["episode talk-1", *[things["other_inference"][-8:]] * 2]
    assert found[1]["Text"] == f"to {things['inference'][-8:]}"
    assert (found[3]["Text"], found[4]["Text"]) == ("A person asked, it is no praise.", "question")
    assert {row["By"] for row in found} == {"operator"}
    assert links(html)[things["inference"][-8:]].endswith(f"/inferences/{things['inference']}")


async def test_each_filter_leaves_what_it_says(world: World) -> None:
    browser, things, today = await world.browser(), world.things, now().date()
    tomorrow = today + timedelta(days=1)
    for query, says in (
        ({"kind": "thumb"}, ["wrong"]),
        ({"inference_id": things["other_inference"]}, ["preferred", "score 0.75"]),
        ({"episode_id": "talk-1"}, ["resolved 1"]),
        ({"since": str(today), "until": str(tomorrow), "kind": "comment"}, ["comment"]),
        ({"until": str(today)}, []),
        ({"since": str(tomorrow)}, []),
    ):
        html = await browser.page("/feedback", **query)
        tables = len(parse(html).find("main").find_all("table"))
        assert [row["Says"] for row in (rows(html, tables - 1) if says else [])] == says, query
        assert ("Nothing matches" in text_of(html)) == (not says)


async def test_the_trend_is_drawn_and_told_in_figures(world: World) -> None:
    for value in (True, True, True):
        body = {"kind": "thumb", "inference_id": world.things["old_inference"], "value": value}
        assert (await world.rest("developer").post("/feedback", json=body)).is_success
    html = await (await world.browser()).page("/feedback")
    main = parse(html).find("main")
    pictures = [image.attrs["aria-label"] for image in main.find_all("svg", class_="bars")]
    assert pictures[0] == "thumb: 4 in 14 days, at most 4 in one day"
    assert len(pictures) == 6
    assert "4 75.0 % right" in main.text()
    days = rows(html)
    assert len(days) == 14
    assert (days[-1]["0"], days[-1]["1"], days[-1]["2"]) == (str(now().date()), "4", "0.750")
    assert (days[0]["1"], days[0]["2"]) == ("0", "–")


async def test_the_trend_follows_the_days_and_the_kind_that_are_asked_for(world: World) -> None:
    browser, today = await world.browser(), now().date()
    one = await browser.page("/feedback", kind="score", since=str(today))
    assert [image.attrs["aria-label"] for image in parse(one).find_all("svg", class_="bars")] == [
        "score: 1 in 1 day, at most 1 in one day"
    ]
    assert f"1 day from {today} to {today}" in text_of(one)
    long = text_of(await browser.page("/feedback", since="2020-01-01"))
    assert "92 days from" in long
    assert "The last 92 days of what was asked for." in long
    for query in ({"inference_id": world.things["inference"]}, {"episode_id": "talk-1"}):
        assert not parse(await browser.page("/feedback", **query)).find_all("svg", class_="bars")


async def test_a_date_that_is_none_is_refused(world: World) -> None:
    answer = await (await world.browser()).get("/feedback", since="soon")
    assert answer.status_code == 422
    assert "since" in text_of(answer.text)


async def test_pages_and_exports(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = await world.browser()
    exported = json.loads(await browser.page("/feedback", export="json", kind="correction"))
    assert [(each["text"], each["inference_id"]) for each in exported] == [("question", world.things["inference"])]
    assert (await browser.page("/feedback", export="csv")).count("\r\n") == 7
    monkeypatch.setattr("charkha.console.listing.Listing.page.__kwdefaults__", {"limit": 4})
    first = await browser.page("/feedback")
    second = await browser.page(links(first)["Older"])
    assert [row["Says"] for row in rows(second)] == ["corrected", "wrong"]
    assert "Older" not in links(second)


async def test_who_may_not_judge_is_not_asked_to(world: World) -> None:
    assert "Review answers r" in links(await (await world.browser()).page("/feedback"))
    viewer = links(await (await world.browser("viewer")).page("/feedback"))
    assert not [text for text in viewer if "Review" in text]


async def test_another_workspace_sees_its_own_alone(world: World) -> None:
    html = await (await world.browser("stranger")).page("/feedback")
    texts = [row["Text"] for row in rows(html, table=1)]
    assert "foreign-A person asked, it is no praise." in texts
    assert "A person asked, it is no praise." not in texts


async def test_where_there_is_none_the_page_says_how_to_give_some(world: World) -> None:
    browser = await world.browser("operator")
    await world.rest().post("/workspaces", json={"name": "new"})
    await world.wiring.snapshots.refresh()
    browser.workspace = "new"
    text = text_of(await browser.page("/feedback"))
    assert "No feedback yet" in text
    assert "charkha feedback give" in text
