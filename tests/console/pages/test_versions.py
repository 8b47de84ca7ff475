"""The pages of versions: the registry, one version's scorecard and origin, and what is done with it."""

import csv
import io
from uuid import UUID

import pytest

from charkha.console.filters import size
from charkha.console.pages.versions import numbers
from charkha.core.errors import Invalid
from charkha.core.ids import uuid7
from charkha.evaluate import store as evaluations
from tests.console.watching import watched
from tests.console.world import World, buttons, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def more_versions(world: World, count: int) -> None:
    """Put more versions into the registry."""
    async with world.tx() as tx:
        for number in range(count):
            name = f"other-{number:03}"
            await world.wiring.registry.register_base(tx, name=name, engine="local", base_model=name)


# ---- The list


async def test_the_list_tells_what_each_version_is_and_how_it_scored(world: World) -> None:
    things = world.things
    html = await (await world.browser("viewer")).page("/versions")
    found = {row["Version"]: row for row in rows(html)}
    trained, base = found[things["version_name"]], found["tiny@0"]
    assert (trained["Kind"], trained["Base model"], trained["Endpoint"]) == ("adapter", "tiny", "support")
    assert trained["Score"].startswith("90.0")
    assert trained["Score"].endswith("better")
    assert trained["Aliases"] == "live"
    assert (base["Kind"], base["Score"], base["Aliases"]) == ("base", "–", "–")
    brought = found[things["brought_name"]]
    assert (brought["Aliases"], brought["Score"]) == ("good", "queued")
    assert links(html)[things["version_name"]].endswith(f"/versions/{things['version']}")


async def test_the_list_is_narrowed_by_how_a_name_begins_kind_and_endpoint(world: World) -> None:
    browser, things = await world.browser(), world.things

    async def shown(**query: str) -> list[str]:
        return [row["Version"] for row in rows(await browser.page("/versions", **query))]

    assert await shown(q="sup") == [things["version_name"]]
    assert await shown(kind="base") == ["tiny@0"]
    assert await shown(endpoint_id=things["endpoint"]) == [things["version_name"]]
    assert "Nothing matches" in text_of(await browser.page("/versions", q="nothing"))
    exported = csv.DictReader(io.StringIO((await browser.get("/versions", export="csv", kind="adapter")).text))
    assert {row["id"] for row in exported} == {things["version"], things["brought_version"]}


async def test_every_page_of_the_list_is_reached(world: World) -> None:
    await more_versions(world, 60)
    browser = await world.browser()
    first = await browser.page("/versions")
    rest = await browser.page(links(first)["Older"])
    names = [row["Version"] for html in (first, rest) for row in rows(html)]
    assert len(names) == len(set(names)) == 63
    assert names[0] == "other-059@0"


# ---- One version


async def test_a_scorecard_is_told_whole(world: World) -> None:
    things = world.things
    html = await (await world.browser("viewer")).page(f"/versions/{things['version_name']}")
    text = text_of(html)
    assert heading(html) == things["version_name"]
    for told in (
        "Better: on 30 examples the whole interval of the difference lies above zero",
        "+30.0",
        "If both were equally good",
        "exact match",
        "On the suite kinds",
    ):
        assert told in text, told
    assert [svg.attrs["aria-label"].partition(":")[0] for svg in parse(html).find_all("svg", class_="rate")] == [
        "The candidate",
        "The incumbent",
    ]
    by_class = {row["0"]: row for row in rows(html)}
    assert set(by_class) == {"bug", "question", "praise"}
    assert by_class["bug"]["Examples"] == "10"
    figures = parse(html).find("section", id="scores").text()
    for name, value in (("Examples", 30), ("Wins", 9), ("Losses", 0), ("Ties", 21)):
        assert str(value) in figures.partition(f"{name}:")[2][:90], name


async def test_where_a_version_comes_from_and_what_it_is_stored_in(world: World) -> None:
    things = world.things
    html = await (await world.browser("viewer")).page(f"/versions/{things['version']}")
    found = links(html)
    assert found[things["run"][-8:]].endswith(f"/runs/{things['run']}")
    assert found["lessons@1"].endswith(f"/dataset-versions/{things['dataset_version']}")
    text = text_of(html)
    for stored in (2, 7, 16):
        assert " ".join(size(stored).split()) in text
    digest = next(
        node.attrs["data-copy"]
        for node in parse(html).find_all("button")
        if node.attrs.get("aria-label") == "Copy the adapter's sha256"
    )
    assert len(digest) == 64
    brought = links(await (await world.browser()).page(f"/versions/{things['brought_version']}"))
    assert brought[things["base_version"][-8:]].endswith(f"/versions/{things['base_version']}")
    base = text_of(await (await world.browser()).page("/versions/tiny@0"))
    assert "A base model: nothing here made it." in base


async def test_a_version_without_a_scorecard_says_what_it_waits_for(world: World) -> None:
    browser, things = await world.browser(), world.things
    waiting = await browser.page(f"/versions/{things['brought_version']}")
    assert "Waiting to be measured" in text_of(waiting)
    assert "data-live" in parse(waiting).find("div", id="page").attrs
    assert "Not evaluated yet" in text_of(await browser.page("/versions/tiny@0"))
    async with world.tx() as tx:
        await evaluations.claim(tx, UUID(things["queued_evaluation"]))
        assert await evaluations.finish(tx, UUID(things["queued_evaluation"]), "failed", error="The engine is gone.")
    assert "The engine is gone." in text_of(await browser.page(f"/versions/{things['brought_version']}"))


async def test_an_evaluation_is_followed_as_it_goes(world: World) -> None:
    things = world.things
    async with world.tx() as tx:
        await evaluations.claim(tx, UUID(things["queued_evaluation"]))
        await evaluations.progress(tx, UUID(things["queued_evaluation"]), 12, 60)
    path = f"/live/versions/{things['brought_version']}"
    told = parse((await watched(world, await world.browser("viewer"), path))["scores"])
    assert "Being measured. 12 of 60 answers" in told.text()
    assert told.find("progress").attrs["value"] == "12"


async def test_an_older_scorecard_is_opened_by_its_id(world: World) -> None:
    browser, things = await world.browser(), world.things
    assert "is queued" in await browser.said(f"/versions/{things['version']}/evaluate", {"suite_id": things["suite"]})
    html = await browser.page(f"/versions/{things['version']}")
    assert "Its evaluations" in text_of(html)
    assert "Better: on 30 examples" in text_of(html)
    older = await browser.page(links(html)[things["evaluation"][-8:]])
    assert "Better: on 30 examples" in text_of(older)
    unknown = await browser.page(f"/versions/{things['version']}", evaluation=str(uuid7()))
    assert "Better: on" not in text_of(unknown)


# ---- What is done with one


async def newest(world: World, version: str) -> evaluations.Evaluation:
    async with world.tx() as tx:
        return (await world.wiring.evaluations.listed(tx, candidates=[UUID(version)], limit=1)).data[0]


async def test_a_version_is_evaluated_again_beside_another(world: World) -> None:
    browser, things = await world.browser(), world.things
    path = f"/versions/{things['version']}/evaluate"
    form = forms(await browser.page(f"/versions/{things['version']}"))[browser.href(path)]
    assert (form["suite_id"], form["incumbent"]) == (things["suite"], "tiny@0")
    assert "is queued" in await browser.said(path, {**form, "incumbent": things["brought_name"]})
    made = await newest(world, things["version"])
    assert (str(made.incumbent_version_id), made.status) == (things["brought_version"], "queued")
    assert "names no version" in await browser.said(path, {**form, "incumbent": "tiny"})
    assert "not compared with itself" in await browser.said(path, {**form, "incumbent": things["version_name"]})


async def test_a_release_begins_with_its_steps_and_reason(world: World) -> None:
    browser, things = await world.browser("operator"), world.things
    await world.rest().post(f"/releases/{things['release']}/cancel", json={"reason": "make room"})
    path = f"/versions/{things['brought_version']}/release"
    form = forms(await browser.page(f"/versions/{things['brought_version']}"))[browser.href(path)]
    form |= {"endpoint": things["endpoint"], "steps": "5, 100", "reason": "by its page"}
    answer = await browser.post(path, form)
    assert "is being prepared" in text_of(answer.text)
    listed = (await world.rest().get("/releases", params={"endpoint": "support", "limit": 1})).json()["data"]
    assert (listed[0]["candidate"], listed[0]["steps"], listed[0]["reason"]) == (
        things["brought_name"],
        [5, 100],
        "by its page",
    )
    assert listed[0]["id"] in answer.headers["hx-trigger-after-swap"]
    assert "Another rollout" in await browser.said(path, form)
    assert "'ten' are no steps" in await browser.said(path, {**form, "steps": "ten"})
    assert "reason" in await browser.said(path, {**form, "reason": ""})


async def test_an_alias_is_set_and_removed(world: World) -> None:
    browser, things = await world.browser("operator"), world.things
    page, path = f"/versions/{things['version']}", f"/versions/{things['version']}/alias"
    assert "support@best is support@1 now." in await browser.said(path, {"alias": "best"})
    html = await browser.page(page)
    assert forms(html)[browser.href(f"{path}/remove")]["alias"] == "best"
    assert "is moved by releases alone" in await browser.said(path, {"alias": "live"})
    assert "is no alias" in await browser.said(path, {"alias": "Not One"})
    assert "support@best is no more." in await browser.said(f"{path}/remove", {"alias": "best"})
    assert browser.href(f"{path}/remove") not in forms(await browser.page(page))


async def test_who_may_not_release_sees_no_button_and_is_refused(world: World) -> None:
    things = world.things
    developer, viewer = await world.browser("developer"), await world.browser("viewer")
    page = f"/versions/{things['version']}"
    assert "Evaluate" in buttons(await developer.page(page))
    assert not {"Begin a release", "Set alias"} & set(buttons(await developer.page(page)))
    assert "Evaluate" not in buttons(await viewer.page(page))
    for browser, action, permission in (
        (developer, "release", "release.promote"),
        (developer, "alias", "release.promote"),
        (viewer, "evaluate", "evaluation.write"),
    ):
        assert f"may not do '{permission}'" in await browser.said(f"{page}/{action}", {"alias": "best"})


async def test_another_workspace_sees_nothing_of_it(world: World) -> None:
    stranger, things = await world.browser("stranger"), world.things
    assert [row["Version"] for row in rows(await stranger.page("/versions", q="support"))] == []
    for path in (f"/versions/{things['version']}", f"/versions/compare?a={things['version']}&b=tiny@0"):
        assert (await stranger.get(path)).status_code == 404
    wanted = {
        "evaluate": ({"suite_id": things["suite"]}, "There is no such suite"),
        "alias": ({"alias": "mine"}, "There is no version"),
        "release": ({"endpoint": world.foreign["endpoint"], "reason": "mine"}, "There is no version"),
    }
    for action, (form, told) in wanted.items():
        assert told in await stranger.said(f"/versions/{things['version']}/{action}", form), action


@pytest.mark.parametrize(
    ("text", "steps"),
    [("", []), ("1, 10, 50, 100", [1, 10, 50, 100]), ("1 % → 100 %", [1, 100]), (" 5\n100 ", [5, 100])],
)
def test_steps_are_read_as_people_write_them(text: str, steps: list[int]) -> None:
    assert numbers(text) == steps


def test_what_is_no_step_is_refused() -> None:
    with pytest.raises(Invalid, match="ten"):
        numbers("1, ten")
