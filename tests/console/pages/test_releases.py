"""The pages of releases: the list, one release with its evidence and decisions, and the ways out of it."""

import csv
import io
from typing import Any
from uuid import UUID

import pytest

from charkha.core.ids import uuid7
from tests.console.watching import watched
from tests.console.world import World, buttons, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def release(world: World, release_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await world.rest().get(f"/releases/{release_id}")).json()
    return found


async def shares(world: World) -> dict[str, int]:
    """Who has which per cent of the endpoint's traffic, by the name of the variant."""
    found = (await world.rest().get(f"/endpoints/{world.things['endpoint']}")).json()
    names = {each["id"]: each["name"] for each in found["variants"]}
    return {names[each["variant_id"]]: each["share"] for each in found["plan"]["shares"] if each["share"]}


async def judged(world: World, *, good: int, bad: int) -> None:
    """Traffic of the running release: the candidate's answers are right, the baseline's wrong; then it is judged."""
    rollout = (await release(world, world.things["release"]))["rollout"]
    usual = {"endpoint_id": UUID(world.things["endpoint"]), "plan_id": UUID(rollout["plan_id"]), "minutes": 0}
    arms = [(rollout["candidate_variant_id"], 1.0)] * good + [(rollout["baseline_variant_id"], 0.0)] * bad
    ids = await world.log(*({**usual, "variant_id": UUID(variant), "duration_ms": 40.0} for variant, _ in arms))
    items = [
        {"kind": "score", "inference_id": str(each), "value": value} for each, (_, value) in zip(ids, arms, strict=True)
    ]
    assert (await world.rest().post("/feedback/batch", json={"items": items})).is_success
    async with world.tx() as tx:
        await world.wiring.conductor.advance(tx, UUID(world.things["release"]))


# ---- The list


async def test_the_list_tells_how_far_each_release_came(world: World) -> None:
    things = world.things
    html = await (await world.browser("viewer")).page("/releases")
    first, second = rows(html)
    assert (first["Candidate"], first["Endpoint"], first["Status"]) == (things["brought_name"], "support", "running")
    assert first["Share"].endswith("10 %")
    assert (second["Candidate"], second["Status"]) == (things["version_name"], "promoted")
    assert second["Share"].endswith("100 %")
    assert links(html)[things["brought_name"]].endswith(f"/releases/{things['release']}")


async def test_the_list_is_narrowed_and_exported(world: World) -> None:
    browser, things = await world.browser(), world.things

    async def shown(**query: str) -> list[str]:
        return [row["Candidate"] for row in rows(await browser.page("/releases", **query))]

    assert await shown(status="running") == [things["brought_name"]]
    assert await shown(candidate=things["version_name"]) == [things["version_name"]]
    assert await shown(candidate=things["version"]) == [things["version_name"]]
    assert len(await shown(endpoint=things["endpoint"])) == 2
    assert await shown(endpoint=things["private_endpoint"]) == []
    exported = list(csv.DictReader(io.StringIO((await browser.get("/releases", export="csv", status="running")).text)))
    assert [(row["id"], row["share"]) for row in exported] == [(things["release"], "10")]


async def test_a_candidate_that_is_still_being_typed_is_no_fault(world: World) -> None:
    browser = await world.browser()
    for typed in ("supp", "support@9"):
        html = await browser.page("/releases", candidate=typed)
        assert "No such candidate" in text_of(html)
        assert parse(html).find("input", name="candidate").attrs["value"] == typed


# ---- One release


async def test_a_release_under_way_shows_its_step_traffic_and_decisions(world: World) -> None:
    things = world.things
    html = await (await world.browser("operator")).page(f"/releases/{things['release']}")
    text = text_of(html)
    assert heading(html) == f"Release of {things['brought_name']}"
    ladder = parse(html).find("ol", class_="ladder").find_all("li")
    assert [(rung.text(), rung.attrs["class"]) for rung in ladder] == [
        ("10 % now", "now"),
        ("50 % ahead", "next"),
        ("100 % ahead", "next"),
    ]
    assert parse(html).find("svg", class_="shares").attrs["aria-label"] == "support@1 90 %, brought@1 10 %"
    assert "Prepared try our own by operator" in text.replace("  ", " ")
    assert "It was never judged" in text
    assert f"/live/releases/{things['release']}" in parse(html).find("div", id="page").attrs["data-live"]
    assert {"Promote", "Cancel", "Roll back"} <= set(buttons(html))


async def test_evidence_is_told_for_both_arms(world: World) -> None:
    await judged(world, good=2, bad=9)
    html = await (await world.browser("viewer")).page(f"/releases/{world.things['release']}")
    found = {row["0"].partition(":")[0]: (row["1"], row["2"]) for row in rows(html)}
    assert found["Scored answers"] == ("2", "9")
    assert found["Mean score"] == ("1.00", "0.00")
    assert found["Answers"] == ("2", "9")
    assert found["Latency p50"][0].startswith("40")
    verdict = (await release(world, world.things["release"]))["rollout"]["judgement"]["verdict"]
    assert verdict == "not enough data"
    text = text_of(html)
    assert "more scored candidate outcomes are expected to be needed" in text
    assert "Waits at 10 %" in text
    bars = {
        bar.attrs["aria-label"].partition(":")[0]: float(bar.attrs["value"]) for bar in parse(html).find_all("progress")
    }
    assert 0 < bars["Evidence that it is better"] < 1
    assert bars["Evidence that it is failing more often"] == 0
    details = parse(html).find("ol", class_="decisions").find_all("details")
    assert "Scored answers" in details[-1].text()


async def test_what_moves_is_sent_as_it_moves(world: World) -> None:
    release_id = world.things["release"]
    await judged(world, good=12, bad=90)
    told = await watched(world, await world.browser(), f"/live/releases/{release_id}", lambda found: len(found) == 3)
    assert set(told) == {"release-head", "release-now", "release-decisions"}
    assert "It answers 50 % of the traffic" in parse(told["release-now"]).text()
    assert "Advanced to 50 %" in parse(told["release-decisions"]).text()
    page = parse(await (await world.browser()).page(f"/releases/{release_id}"))
    assert all(page.find_all(id=name) for name in told)


async def test_a_release_that_ended_is_not_followed(world: World) -> None:
    html = await (await world.browser("operator")).page(f"/releases/{world.things['promoted_release']}")
    assert "data-live" not in parse(html).find("div", id="page").attrs
    assert not {"Promote", "Cancel"} & set(buttons(html))
    assert "Promoted by hand, over the evidence" in text_of(html)
    assert "left out" in text_of(html)


# ---- The ways out


async def test_a_candidate_is_promoted_over_the_evidence_with_a_reason(world: World) -> None:
    browser, things = await world.browser("operator"), world.things
    path = f"/releases/{things['release']}/promote"
    html = await browser.page(f"/releases/{things['release']}")
    assert "This overrides the evidence" in text_of(html)
    assert "required" in parse(html).find("input", id="promote-reason").attrs
    assert "reason" in await browser.said(path, {"reason": ""})
    assert (await release(world, things["release"]))["rollout"]["status"] == "running"
    said = await browser.said(path, {**forms(html)[browser.href(path)], "reason": "a good feeling"})
    assert "brought@1 has all of the traffic." in said
    assert await shares(world) == {"brought@1": 100}
    page = text_of(await browser.page(f"/releases/{things['release']}"))
    assert "a good feeling" in page
    assert "It has all of the traffic." in page
    trail = (await world.rest().get("/audit", params={"target_id": things["release"]})).json()["data"]
    assert (trail[0]["action"], trail[0]["detail"]["reason"]) == ("release.override", "a good feeling")


async def test_a_release_is_cancelled(world: World) -> None:
    browser, things = await world.browser("operator"), world.things
    path = f"/releases/{things['release']}/cancel"
    assert "is cancelled" in await browser.said(path, {"reason": "not now"})
    assert await shares(world) == {"support@1": 100}
    assert "cannot cancel" in await browser.said(path, {"reason": "again"})
    assert "10 % ended here" in text_of(await browser.page(f"/releases/{things['release']}"))


async def test_an_endpoint_is_rolled_back_and_every_gateway_is_named(world: World) -> None:
    browser, things = await world.browser("operator"), world.things
    html = await browser.page(f"/releases/{things['release']}")
    path = f"/releases/{things['release']}/rollback"
    assert "Roll support back?" in text_of(html)
    said = await browser.said(path, {**forms(html)[browser.href(path)], "reason": "it is rude"})
    assert "brought@1 was rolled back." in said
    assert "1 gateway process serves the plan before it again" in said
    assert "ms after the click" in said
    assert await shares(world) == {"support@1": 100}
    after = await browser.page(f"/releases/{things['release']}")
    assert "Roll back" not in buttons(after)
    assert "Rolled back it is rude" in text_of(after)
    earlier = await browser.page(f"/releases/{things['promoted_release']}")
    assert "Roll back" in buttons(earlier)
    assert "support@1 was rolled back." in await browser.said(
        f"/releases/{things['promoted_release']}/rollback", {"reason": "further"}
    )
    assert await shares(world) == {"first": 100}
    assert "nothing to go back to" in await browser.said(path, {"reason": "further still"})


@pytest.mark.parametrize("who", ["viewer", "developer"])
@pytest.mark.parametrize("action", ["promote", "cancel", "rollback"])
async def test_who_may_not_release_sees_no_button_and_is_refused(world: World, who: str, action: str) -> None:
    browser, release_id = await world.browser(who), world.things["release"]
    html = await browser.page(f"/releases/{release_id}")
    assert not {"Promote", "Cancel", "Roll back"} & set(buttons(html))
    assert "may not do 'release.promote'" in await browser.said(f"/releases/{release_id}/{action}", {"reason": "mine"})
    assert (await release(world, release_id))["rollout"]["status"] == "running"


async def test_another_workspace_reaches_nothing_of_it(world: World) -> None:
    stranger, things = await world.browser("stranger"), world.things
    assert (await stranger.get(f"/releases/{things['release']}")).status_code == 404
    for release_id in (things["release"], uuid7()):
        assert (await stranger.get(f"/live/releases/{release_id}")).status_code == 404
    for action in ("promote", "cancel", "rollback"):
        said = await stranger.said(f"/releases/{things['release']}/{action}", {"reason": "mine"})
        assert "There is no release" in said
    assert (await release(world, things["release"]))["rollout"]["status"] == "running"
