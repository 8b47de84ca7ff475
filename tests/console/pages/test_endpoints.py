"""Endpoints and engines as people see and change them."""

import csv
import io
from typing import Any

import pytest

from charkha.serve.variants import VariantSpec
from tests.console.world import Browser, World, buttons, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def rest(world: World, method: str, path: str, body: Any = None) -> Any:
    """What the API says to the operator."""
    answer = await world.rest().request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json()


def told(world: World, *shares: int) -> str:
    """The two variants of the endpoint `support` with their shares, in words."""
    called = (world.things["version_name"], world.things["brought_name"])
    return ", ".join(f"{name} {share} %" for name, share in zip(called, shares, strict=True))


async def test_the_list_tells_what_answers_now(world: World) -> None:
    found = {row["Endpoint"]: row for row in rows(await (await world.browser("viewer")).page("/endpoints"))}
    assert list(found) == ["private", "support"]
    first, candidate = (await rest(world, "GET", "/endpoints/support?variants=live"))["plan"]["shares"]
    assert (first["share"], candidate["share"]) == (90, 10)
    assert found["support"]["Answers now"].endswith(told(world, 90, 10))
    assert (found["support"]["Training"], found["private"]["Training"]) == ("on", "none")
    assert (found["support"]["Content"], found["private"]["Content"]) == ("kept", "not kept")
    assert found["support"]["Last hour"] == "5 1 failed"
    assert found["private"]["Last hour"] == "1"


async def test_a_list_of_many_has_pages_and_an_export(world: World) -> None:
    async with world.tx() as tx:
        for number in range(60):
            await world.wiring.endpoints.create(tx, name=f"e{number}", variant=VariantSpec())
    browser = await world.browser()
    newest = await browser.page("/endpoints")
    older = (await browser.http.get(links(newest)["Older"])).text
    found = [row["Endpoint"] for row in rows(newest) + rows(older)]
    assert (len(rows(newest)), found[-2:]) == (50, ["private", "support"])
    assert sorted(found[:-2]) == sorted(f"e{number}" for number in range(60))
    exported = list(csv.DictReader(io.StringIO((await browser.get("/endpoints", export="csv")).text)))
    assert (len(exported), exported[-1]["name"], exported[-1]["id"]) == (62, "support", world.things["endpoint"])


async def test_engines_and_gateways_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = await world.browser("viewer")
    page = text_of(await browser.page("/endpoints"))
    assert "local ready" in page
    assert "newest" in page

    async def health() -> None:
        raise ConnectionError("nobody listens there")

    monkeypatch.setattr(world.engine, "health", health)
    page = text_of(await browser.page("/endpoints"))
    assert "unreachable" in page
    assert "engine local cannot be reached." in page


async def test_an_endpoint_is_made_with_a_form(world: World) -> None:
    browser = await world.browser()
    fields = forms(await browser.page("/endpoints/-/new"))[browser.href("/endpoints")]
    assert (fields["keeps_content"], fields["variant_name"]) == ("", "base")
    made = {
        **fields,
        "name": "sorted",
        "labels": "billing\n\n shipping \n",
        "version": world.things["version_name"],
        "system_prompt": "Sort it.",
        "parameters": '{"max_tokens": 4}',
    }
    del made["keeps_content"]
    assert "sorted can be called now." in await browser.said("/endpoints", made)
    found = await rest(world, "GET", "/endpoints/sorted")
    assert (found["labels"], found["keeps_content"]) == (["billing", "shipping"], False)
    (variant,) = found["variants"]
    assert (variant["version_id"], variant["system_prompt"]) == (world.things["version"], "Sort it.")
    assert variant["parameters"] == {"max_tokens": 4}
    answer = await browser.post("/endpoints", {**made, "name": "again"}, scripted=False)
    assert (answer.status_code, answer.headers["location"]) == (303, browser.href("/endpoints/again"))


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"parameters": '{"max_tokens" 4}'}, "Parameters: this is no JSON (line 1, column 15"),
        ({"parameters": "[1]"}, "Parameters: this is JSON, but no object."),
        ({"parameters": '{"volume": 4}'}, "'volume' is no parameter of an answer."),
        ({"name": "support"}, "There is an endpoint 'support' already."),
        ({"name": ""}, "is no name for an endpoint."),
        ({"engine": "far", "model": "x"}, "There is no engine 'far'."),
        ({"version": "none@1"}, "There is no version 'none@1' in this workspace."),
    ],
)
async def test_a_wrong_endpoint_is_refused_with_what_to_do(world: World, wrong: dict[str, str], refusal: str) -> None:
    browser = await world.browser()
    said = await browser.said("/endpoints", {"name": "new", **wrong})
    assert said.count(refusal) == 1
    assert len(rows(await browser.page("/endpoints"))) == 2


async def test_one_endpoint_is_shown_whole(world: World) -> None:
    browser = await world.browser("operator")
    html = await browser.page("/endpoints/support")
    page, found = text_of(html), links(html)
    assert heading(html) == "support"
    assert f"The release of {world.things['brought_name']} has 10 % of the traffic" in page
    assert found[world.things["version_name"]] == browser.href(f"/versions/{world.things['version']}")
    assert "× 1.00" in page
    assert "Say what it is." in page
    assert '{"max_tokens": 8, "temperature": 0}' in page
    assert "bug question praise" in page
    assert 'model="support"' in page
    assert f'base_url="{browser.http.base_url}/v1"' in page
    waits = (await rest(world, "GET", f"/training-policies/{world.things['endpoint']}"))["lessons_waiting"]
    assert f"{waits} of 20 lessons" in page
    plans = rows(html, table=1)
    assert [row["Plan"] for row in plans] == ["4", "3", "2", "1"]
    assert (plans[-1]["Shares"], plans[-1]["Why"]) == ("first 100 % first 100 %", "created")
    assert plans[-1]["By"] == "operator"
    assert (await browser.page(f"/endpoints/{world.things['endpoint']}")).count("<h1>") == 1


async def test_figures_are_of_the_last_day_by_variant(world: World) -> None:
    endpoint = world.things["endpoint"]
    shares = {"variant_id": world.things["variant"], "share": 100}
    live = (await rest(world, "GET", f"/endpoints/{endpoint}"))["live_plan_id"]
    await rest(world, "PUT", f"/endpoints/{endpoint}/plan", {"expected_plan_id": live, "shares": [shares]})
    stats = await rest(world, "GET", f"/inferences/stats?endpoint_id={endpoint}")
    html = await (await world.browser("viewer")).page("/endpoints/support")
    (variant,) = parse(html).find("div", class_="variants").find_all("article")
    figures = variant.text()
    assert figures.startswith("first 100 %")
    assert f" {stats[0]['requests']} 1 failed" in figures
    assert "in the last 24 hours" in figures


async def test_who_may_only_read_is_offered_no_change(world: World) -> None:
    viewer = await world.browser("viewer")
    html = await viewer.page("/endpoints/support")
    assert not [path for path in forms(html) if "/endpoints/" in path]
    assert {"Set the shares", "Roll back", "Delete this endpoint"} & set(buttons(html)) == set()
    developer = await world.browser("developer")
    offered = buttons(await developer.page("/endpoints/support"))
    assert "Delete this endpoint" in offered
    assert "Set the shares" not in offered
    for path in (
        "/endpoints",
        "/endpoints/support/variants",
        "/endpoints/support/delete",
        "/endpoints/support/content",
    ):
        assert (await viewer.post(path, {"name": "x"}, scripted=False)).status_code == 403
    for path in ("/endpoints/support/plan", "/endpoints/support/rollback"):
        assert (await developer.post(path, {"reason": "x"}, scripted=False)).status_code == 403


async def test_a_stranger_finds_no_endpoint_of_others(world: World) -> None:
    stranger = await world.browser("stranger")
    assert [row["Endpoint"] for row in rows(await stranger.page("/endpoints"))] == [
        "foreign-private",
        "foreign-support",
    ]
    for reference in ("support", world.things["endpoint"]):
        assert (await stranger.get(f"/endpoints/{reference}")).status_code == 404
        assert "There is no endpoint" in await stranger.said(f"/endpoints/{reference}/delete", {"name": "support"})
    assert (await rest(world, "GET", "/endpoints/support"))["name"] == "support"


async def moved(browser: Browser, **typed: str) -> dict[str, str]:
    """The form of the shares as it stands on the page, with some of its fields typed anew, in order."""
    fields = forms(await browser.page("/endpoints/support"))
    (form,) = [form for path, form in fields.items() if path.endswith("/plan")]
    shares = [name for name in form if name.startswith("share:")]
    return {**form, **dict(zip(shares, typed.values(), strict=False)), "reason": "by the test"}


async def test_shares_are_set_by_hand_and_a_stale_page_is_told_so(world: World) -> None:
    browser = await world.browser("operator")
    form = await moved(browser, first="60", second="40")
    assert form["expected_plan_id"] == (await rest(world, "GET", "/endpoints/support"))["live_plan_id"]
    path = f"/endpoints/{world.things['endpoint']}/plan"
    assert "The shares are 90 in all." in await browser.said(path, await moved(browser, first="60", second="30"))
    assert "Share: 1.5 is no whole number." in await browser.said(path, await moved(browser, first="1.5"))
    assert "Plan 5 is live." in await browser.said(path, form)
    plan = (await rest(world, "GET", "/endpoints/support"))["plan"]
    assert ([each["share"] for each in plan["shares"]], plan["reason"]) == ([60, 40], "by the test")
    said = await browser.said(path, form)
    assert "Somebody moved the traffic meanwhile, so nothing was changed." in said
    assert "The live plan is number 5" in said
    assert (await rest(world, "GET", "/endpoints/support"))["plan"]["number"] == 5


async def test_a_rollback_says_where_it_is_served(world: World) -> None:
    browser = await world.browser("operator")
    said = await browser.said("/endpoints/support/rollback", {"reason": "it was worse"})
    assert "What served before the newest release serves again.1 of 1 gateways serve it" in said
    plan = (await rest(world, "GET", "/endpoints/support?variants=live"))["plan"]
    assert [each["share"] for each in plan["shares"]] == [100]
    assert "it was worse" in plan["reason"]


async def test_an_endpoint_is_deleted_by_who_types_its_name(world: World) -> None:
    browser = await world.browser()
    path = f"/endpoints/{world.things['private_endpoint']}/delete"
    assert "nothing was deleted.Type: private" in await browser.said(path, {"name": "support"})
    assert (await browser.get("/endpoints/private")).status_code == 200
    said = await browser.said(path, {"name": " private "})
    assert "private is deleted.1 of 1 gateways have forgotten it." in said
    assert (await browser.get("/endpoints/private")).status_code == 404


async def test_content_is_kept_or_not_as_the_form_says(world: World) -> None:
    browser = await world.browser()
    for word, keeps in (("no", False), ("yes", True)):
        form = forms(await browser.page("/endpoints/support"))
        path = f"/endpoints/{world.things['endpoint']}/content"
        assert form[browser.href(path)]["keeps_content"] == word
        assert "from now on" in await browser.said(path, {"keeps_content": word})
        assert (await rest(world, "GET", "/endpoints/support"))["keeps_content"] is keeps


async def test_a_training_policy_is_set_and_switched(world: World) -> None:
    browser, endpoint = await world.browser(), world.things["endpoint"]
    path = f"/endpoints/{endpoint}/policy"
    typed = {"minimum_examples": "30", "recipe": "sft", "config": '{"epochs": 2}', "enabled": "on"}
    assert "The training policy is set.A candidate is trained at 30 new lessons." in await browser.said(path, typed)
    policy = await rest(world, "GET", f"/training-policies/{endpoint}")
    assert (policy["minimum_examples"], policy["config"], policy["enabled"]) == (30, {"epochs": 2}, True)
    for word, answer in (("no", "switched off"), ("yes", "switched on")):
        assert forms(await browser.page("/endpoints/support"))[browser.href(f"{path}/switch")]["enabled"] == word
        assert answer in await browser.said(f"{path}/switch", {"enabled": word})
        changed = await rest(world, "GET", f"/training-policies/{endpoint}")
        assert changed == {**policy, "enabled": word == "yes"}
    assert "Configuration: this is no JSON" in await browser.said(path, {**typed, "config": "epochs: 2"})
    assert "Lessons: 'many' is no number." in await browser.said(path, {**typed, "minimum_examples": "many"})
    assert (await rest(world, "GET", f"/training-policies/{endpoint}"))["minimum_examples"] == 30


async def test_a_variant_is_added_and_gets_no_traffic_yet(world: World) -> None:
    browser = await world.browser("operator")
    assert heading(await browser.page("/endpoints/support/variants/new")) == "Add a variant to support"
    typed = {"variant_name": "calm", "engine": "local", "model": "tiny", "system_prompt": "Be calm."}
    assert "calm is added." in await browser.said("/endpoints/support/variants", typed)
    resting = rows(await browser.page("/endpoints/support"))
    assert [(row["Variant"], row["Model"], row["Adapters"]) for row in resting if row["Variant"] == "calm"] == [
        ("calm", "tiny on local", "none: the model alone")
    ]
    every = rows(await browser.page("/endpoints/support/variants"))
    assert (every[0]["Variant"], every[0]["Share"]) == ("calm", "–")
    assert "Be calm." in every[0]["Model"]
    assert {row["Variant"]: row["Share"] for row in every}[world.things["brought_name"]] == "10 %"


async def test_histories_have_pages_and_exports(world: World) -> None:
    things = world.things
    async with world.tx() as tx:
        for number in range(60):
            await world.wiring.endpoints.put_variant(tx, "support", VariantSpec(name=f"v{number}"))
            live = await world.wiring.endpoints.live(tx, (await world.wiring.endpoints.get(tx, "support")).id)
            await world.wiring.endpoints.swap(
                tx, live.endpoint_id, expected_plan_id=live.id, shares=live.shares, reason=f"r{number}"
            )
    browser = await world.browser("viewer")
    plans = await browser.page("/endpoints/support/plans")
    assert [row["Plan"] for row in rows(plans)] == [str(number) for number in range(64, 14, -1)]
    assert rows(plans)[0]["Shares"].endswith(told(world, 90, 10))
    older = rows((await browser.http.get(links(plans)["Older"])).text)
    assert (older[-1]["Why"], older[-1]["Shares"]) == ("created", "first 100 % first 100 %")
    variants = await browser.page("/endpoints/support/variants")
    older_ones = (await browser.http.get(links(variants)["Older"])).text
    called = [row["Variant"] for row in rows(variants) + rows(older_ones)]
    assert (len(rows(variants)), len(called), called[-1]) == (50, 63, "first")
    assert set(called) > {f"v{number}" for number in range(60)}
    assert len((await browser.get("/endpoints/support/plans", export="json")).json()) == 64
    assert len((await browser.get("/endpoints/support/variants", export="json")).json()) == 63
    detail = await browser.page("/endpoints/support")
    assert len(rows(detail, table=0)) == len(rows(detail, table=1)) == 10
    assert links(detail)["All plans"] == browser.href(f"/endpoints/{things['endpoint']}/plans")


async def test_an_engine_is_drained_and_serves_again(world: World) -> None:
    browser = await world.browser("operator")
    assert "breaker closed" not in text_of(await browser.page("/endpoints"))
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "a"}]}
    assert (await world.rest().post("/v1/chat/completions", json=asked)).status_code == 200
    await world.wiring.snapshots.refresh()
    assert "breaker closed" in text_of(await browser.page("/endpoints"))
    assert "local gets no new requests." in await browser.said("/engines/local/drain")
    assert (await world.rest().post("/v1/chat/completions", json=asked)).json()["error"]["code"] == "engine_drained"
    page = await browser.page("/endpoints")
    assert "drained" in text_of(page)
    assert browser.href("/engines/local/resume") in forms(page)
    assert "local serves again." in await browser.said("/engines/local/resume")
    assert browser.href("/engines/local/drain") in forms(await browser.page("/endpoints"))
    viewer = await world.browser("viewer")
    assert browser.href("/engines/local/drain") not in forms(await viewer.page("/endpoints"))


async def test_a_variant_is_made_with_other_ways(world: World) -> None:
    browser = await world.browser()
    made = {
        "name": "spread",
        "engine": "local",
        "model": "tiny",
        "alternatives": "local:other context=8000 task=code\nlocal:third\n",
        "order": "cost",
        "hedge_ms": "250",
        "first_token_seconds": "3",
    }
    assert "spread can be called now." in await browser.said("/endpoints", made)
    (variant,) = (await rest(world, "GET", "/endpoints/spread"))["variants"]
    assert [(each["model"], each["context_tokens"], each["tasks"]) for each in variant["alternatives"]] == [
        ("other", 8000, ["code"]),
        ("third", None, []),
    ]
    assert (variant["routing"]["order"], variant["routing"]["hedge_ms"]) == ("cost", 250)
    page = text_of(await browser.page("/endpoints/spread"))
    for told in ("the cheapest first", "hedged after 250 ms", "first byte within 3", "tokens code"):
        assert told in page
    said = await browser.said("/endpoints", {**made, "name": "bad", "alternatives": "gpt-4o"})
    assert "'gpt-4o' is not ENGINE:MODEL" in said
    said = await browser.said("/endpoints", {**made, "name": "bad", "alternatives": "far:gpt-4o"})
    assert "There is no engine 'far'." in said
