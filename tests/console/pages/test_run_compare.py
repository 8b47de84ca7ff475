"""Runs side by side: curves on one scale, what was chosen differently first, what came of each."""

import json
from typing import Any

import pytest

from charkha.console.pages.run_compare import ids
from charkha.core.errors import Invalid
from charkha.core.ids import uuid7
from tests.console.world import World, parse, rows, text_of

pytestmark = pytest.mark.anyio


def curve(html: str, name: str) -> list[Any]:
    """The series that a picture draws."""
    series: list[Any] = json.loads(parse(html).find("figure", id=f"curve-{name}").attrs["data-plot"])["series"]
    return series


async def test_runs_are_compared_by_curves_choices_and_what_came_of_them(world: World) -> None:
    browser, things = await world.browser("viewer"), world.things
    both = [things["run"], things["failed_run"]]
    html = await browser.page("/runs/compare", ids=both)
    assert [each["label"] for each in curve(html, "loss")] == [f"run {each[-8:]}" for each in both]
    came = {row["0"].partition(":")[0]: (row["1"], row["2"]) for row in rows(html)}
    assert came["Status"] == ("succeeded", "failed")
    assert came["Version"] == (things["version_name"], "–")
    assert came["Score"][0].startswith("90.0")
    assert came["Last loss"] == (f"{2 / 41:.3f}", f"{2 / 4:.3f}")
    assert rows(html, 1)[0]["0"] == "recipe"
    assert text_of(await browser.page("/runs/compare", ids=",".join(both))) == text_of(html)


async def test_choices_that_differ_are_marked_and_come_first(world: World) -> None:
    body = {"endpoint_id": world.things["private_endpoint"], "dataset_version_id": world.things["dataset_version"]}
    made = (await world.rest().post("/runs", json={**body, "config": {"rank": 4}, "seed": 5})).json()
    html = await (await world.browser()).page("/runs/compare", ids=[world.things["run"], made["id"]])
    found = rows(html, 1)
    assert [(row["0"], row["1"], row["2"]) for row in found[:2]] == [("seed ≠", "0", "5"), ("rank ≠", "16", "4")]
    assert not any("≠" in row["0"] for row in found[2:])


async def test_one_run_or_none_is_asked_for_another(world: World) -> None:
    browser = await world.browser()
    assert "Mark them in the list" in text_of(await browser.page("/runs/compare"))
    assert "One run is chosen" in text_of(await browser.page("/runs/compare", ids=world.things["run"]))
    assert (await browser.get("/runs/compare", ids=f"{world.things['run']},{uuid7()}")).status_code == 404


def test_ids_are_taken_once_and_up_to_six() -> None:
    assert ids(["a,b", "b", " c "]) == ["a", "b", "c"]
    assert ids(["", ","]) == []
    with pytest.raises(Invalid, match="7 runs"):
        ids(["a,b,c,d,e,f,g"])
