"""Two versions side by side: in pairs where an evaluation compared them, and by their facts."""

import pytest

from charkha.console.pages.version_compare import asked_for
from tests.console.world import Browser, World, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def compared(browser: Browser, a: str, b: str) -> str:
    return await browser.page("/versions/compare", a=a, b=b)


async def test_two_versions_are_compared_by_pairs_where_somebody_did(world: World) -> None:
    browser, things = await world.browser("viewer"), world.things
    for a, b in ((things["version_name"], "tiny@0"), ("tiny@0", things["version_name"])):
        html = await compared(browser, a, b)
        assert "Better: on 30 examples" in text_of(html)
        assert len(parse(html).find_all("svg", class_="rate")) == 2
        facts = {row["0"].partition(":")[0]: (row["1"], row["2"]) for row in rows(html)}
        kinds = {a: facts["kind ≠"][0], b: facts["kind ≠"][1]}
        assert kinds == {things["version_name"]: "adapter", "tiny@0": "base"}
        assert facts["base model"] == ("tiny", "tiny")


async def test_two_versions_that_nobody_compared_are_told_apart_by_facts_alone(world: World) -> None:
    browser, things = await world.browser(), world.things
    html = await compared(browser, things["version_name"], things["brought_name"])
    assert "No evaluation compared these two in pairs" in text_of(html)
    assert not parse(html).find_all("svg", class_="rate")
    marked = await browser.page("/versions/compare", ids=[things["version"], things["brought_version"]])
    assert text_of(marked) == text_of(html)


async def test_one_version_is_asked_for_another(world: World) -> None:
    browser = await world.browser()
    html = await browser.page("/versions/compare", a="tiny@0")
    assert parse(html).find("input", name="a").attrs["value"] == "tiny@0"
    assert "Name two versions" in text_of(html)
    assert (await browser.get("/versions/compare", a="tiny@0", b="tiny@9")).status_code == 404


def test_references_come_from_their_fields_or_from_the_list() -> None:
    assert asked_for({"a": "x@1", "b": "y@2"}, []) == ("x@1", "y@2")
    assert asked_for({}, ["x", "y", "z"]) == ("x", "y")
    assert asked_for({"a": "x@1"}, ["y"]) == ("x@1", "y")
    assert asked_for({}, []) == ("", "")
