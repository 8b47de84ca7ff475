"""The pages of runs: the list, one run as it goes, and cancelling and resuming one."""

import csv
import io
import json
from typing import Any
from uuid import UUID

import pytest

from charkha.core.ids import uuid7
from charkha.learn.runs import store
from charkha.learn.runs.claim import Claim
from charkha.learn.runs.domain import Heard, Point, Run
from tests.console.watching import watched
from tests.console.world import World, buttons, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def get(world: World, run_id: str) -> Run:
    async with world.tx() as tx:
        return await world.wiring.runs.get(tx, UUID(run_id))


async def failed_runs(world: World, count: int) -> None:
    """Put more runs into the list."""
    facts = {"recipe": "sft", "config": {}, "base_model": "tiny", "seed": 0, "status": "failed", "error": "No."}
    about = {"endpoint_id": UUID(world.things["endpoint"]), "dataset_version_id": UUID(world.things["dataset_version"])}
    async with world.tx() as tx:
        for _ in range(count):
            assert await store.add(tx, id=uuid7(), **about, **facts)


def curve(html: str, name: str) -> list[Any]:
    """The series that a picture draws."""
    series: list[Any] = json.loads(parse(html).find("figure", id=f"curve-{name}").attrs["data-plot"])["series"]
    return series


# ---- The list


async def test_the_list_tells_where_each_run_is(world: World) -> None:
    things = world.things
    html = await (await world.browser("viewer")).page("/runs")
    found = {row["Run"]: row for row in rows(html)}
    assert set(found) == {things[name][-8:] for name in ("run", "failed_run", "running_run")}
    running = found[things["running_run"][-8:]]
    assert (running["Status"], running["Endpoint"], running["Recipe"]) == ("running", "support", "sft")
    assert running["Steps"].startswith("12 of 40")
    assert running["Loss now"] == f"{2 / 13:.3f}"
    assert found[things["failed_run"][-8:]]["Endpoint"] == "private"
    assert links(html)[things["dataset_version"][-8:]].endswith(f"/dataset-versions/{things['dataset_version']}")
    assert "Start a run" not in text_of(html)
    assert "Start a run" in text_of(await (await world.browser()).page("/runs"))


async def test_the_list_is_narrowed_and_exported(world: World) -> None:
    browser, things = await world.browser(), world.things
    shown = [row["Run"] for row in rows(await browser.page("/runs", status="failed"))]
    assert shown == [things["failed_run"][-8:]]
    assert len(rows(await browser.page("/runs", endpoint_id=things["endpoint"]))) == 2
    assert "Nothing matches" in text_of(await browser.page("/runs", status="queued"))
    exported = list(csv.DictReader(io.StringIO((await browser.get("/runs", export="csv", status="failed")).text)))
    assert [(row["id"], row["error"]) for row in exported] == [
        (things["failed_run"], "The recipe was killed: it may lack memory.")
    ]


async def test_every_page_of_the_list_is_reached(world: World) -> None:
    await failed_runs(world, 60)
    browser = await world.browser()
    first = await browser.page("/runs")
    assert len(rows(first)) == 50
    rest = await browser.page(links(first)["Older"])
    assert len(rows(rest)) == 13
    assert not {row["Run"] for row in rows(first)} & {row["Run"] for row in rows(rest)}


async def test_an_empty_list_says_how_a_run_begins(world: World) -> None:
    browser = await world.browser("operator")
    await world.rest().post("/workspaces", json={"name": "empty"})
    await world.wiring.snapshots.refresh()
    html = await browser.page("/console/w/empty/runs")
    assert "No runs yet" in text_of(html)
    assert "charkha runs start" in text_of(html)


# ---- One run


async def test_a_run_under_way_shows_its_progress_curve_and_log(world: World) -> None:
    things = world.things
    html = await (await world.browser("viewer")).page(f"/runs/{things['running_run']}")
    text = text_of(html)
    assert heading(html) == f"Run {things['running_run'][-8:]}"
    for told in ("Step 12 of 40, about 28 s left.", "begin at step 0", "lessons@1", "24 examples", "tiny"):
        assert told in text, told
    assert [len(each["points"]) for each in curve(html, "loss")] == [12]
    assert curve(html, "tokens_per_second")[0]["points"][-1] == [12, 912.0]
    assert "Peak rate of AdamW." in text
    assert parse(html).find("progress").attrs["value"] == "12"
    assert f"/live/runs/{things['running_run']}" in parse(html).find("div", id="page").attrs["data-live"]
    assert not {"Cancel", "Resume"} & set(buttons(html))


async def test_a_long_curve_and_a_long_log_are_shortened(world: World) -> None:
    run = await get(world, world.things["running_run"])
    claim = Claim(world.wiring.database, world.wiring.events, world.workspace_id, run)
    heard = Heard(step=3000, steps=4000, points=[Point(step, 1 / step, 1e-3, 9.0) for step in range(13, 3001)])
    claim.journal.say(*(f"line {number}" for number in range(700)))
    await claim.beat(heard)
    html = await (await world.browser()).page(f"/runs/{run.id}")
    (series,) = curve(html, "loss")
    assert len(series["points"]) == 400
    assert series["points"][-1][0] == 3000
    lines = parse(html).find("div", role="log").find_all("bdi")
    assert len(lines) == 500
    assert lines[-1].text() == "line 699"
    assert "The last 500 lines" in text_of(html)


async def test_a_run_that_succeeded_leads_to_its_version(world: World) -> None:
    things = world.things
    html = await (await world.browser()).page(f"/runs/{things['run']}")
    assert links(html)[things["version_name"]].endswith(f"/versions/{things['version']}")
    assert "12.5" in text_of(html).partition("Training took")[2][:90]
    assert "data-live" not in parse(html).find("div", id="page").attrs
    assert not {"Cancel", "Resume"} & set(buttons(html))


async def test_a_run_that_failed_says_why_and_can_be_resumed(world: World) -> None:
    browser, run_id = await world.browser(), world.things["failed_run"]
    html = await browser.page(f"/runs/{run_id}")
    assert "The recipe was killed: it may lack memory." in text_of(html)
    assert "Resume" in buttons(html)
    said = await browser.said(f"/runs/{run_id}/resume", forms(html)[browser.href(f"/runs/{run_id}/resume")])
    assert "queued again" in said
    assert (await get(world, run_id)).status == "queued"
    assert "in the making" in await browser.said(f"/runs/{run_id}/resume")


async def test_a_run_is_cancelled_by_its_page(world: World) -> None:
    browser, run_id = await world.browser(), world.things["running_run"]
    html = await browser.page(f"/runs/{run_id}")
    assert "Its last checkpoint stays" in text_of(html)
    assert "is being cancelled" in await browser.said(f"/runs/{run_id}/cancel")
    assert (await get(world, run_id)).cancel_requested
    again = await browser.page(f"/runs/{run_id}")
    assert "stopping" in text_of(again)
    assert "Cancel the run" not in buttons(again)


async def test_who_may_only_read_changes_nothing(world: World) -> None:
    viewer, stranger = await world.browser("viewer"), await world.browser("stranger")
    for action in ("cancel", "resume"):
        path = f"/runs/{world.things['running_run']}/{action}"
        assert "may not do 'run.write'" in await viewer.said(path)
        assert "no such run" in await stranger.said(path)
    assert (await viewer.get("/runs/new")).status_code == 403
    assert not (await get(world, world.things["running_run"])).cancel_requested
    for path in ("", "/compare?ids="):
        answer = await stranger.get(f"/runs/{path.lstrip('/')}{world.things['run']}")
        assert answer.status_code == 404


async def test_what_moves_is_sent_as_it_moves(world: World) -> None:
    run_id = world.things["running_run"]
    told = await watched(world, await world.browser(), f"/live/runs/{run_id}", lambda found: len(found) == 5)
    assert set(told) == {"run-head", "run-now", "run-curves", "run-log", "run-facts"}
    assert "Step 12 of 40" in parse(told["run-now"]).text()
    assert len(curve(told["run-curves"], "loss")[0]["points"]) == 12
    page = parse(await (await world.browser()).page(f"/runs/{run_id}"))
    assert all(page.find_all(id=name) for name in told)


async def test_a_stream_of_a_run_that_is_not_there_is_refused(world: World) -> None:
    answer = await (await world.browser()).get(f"/live/runs/{uuid7()}")
    assert answer.status_code == 404
