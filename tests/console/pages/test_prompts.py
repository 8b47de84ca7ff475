"""The pages of prompts: the list, one with its versions, differences, tests and their results, forms, and trying."""

import json
from typing import Any

import pytest

from charkha.testing.serving import serving
from tests.console.world import MODEL, Browser, World, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def test_the_list_tells_of_each_prompt(world: World) -> None:
    html = await (await world.browser()).page("/prompts")
    assert heading(html) == "Prompts"
    (row,) = rows(html)
    assert (row["Name"], row["What it is for"], row["Newest"], row["Tests"]) == (
        "greeting",
        "Says hello.",
        "version 2",
        "2",
    )
    assert links(html)["greeting"].endswith("/prompts/greeting")
    exported = await (await world.browser()).get("/prompts", export="json")
    assert [each["name"] for each in exported.json()] == ["greeting"]


async def test_a_prompt_shows_its_versions_and_how_to_speak_with_it(world: World) -> None:
    html = await (await world.browser()).page("/prompts/greeting")
    assert heading(html) == "greeting"
    newest, first = rows(html)[:2]
    assert (newest["Version"], newest["Tests"], newest["Changed"]) == ("greeting@2", "1 of 2 passed tiny", "since 1")
    assert (first["Version"], first["Note"], first["Tests"]) == ("greeting@1", "The first.", "not run")
    text = text_of(html)
    assert "Be {{ how }}." in text
    assert "charkha endpoints create NAME --prompt greeting@2" in text
    assert '"variables": {"who": "…", "how": "…"}' in text
    assert [row["Default"] for row in rows(html, 1)] == ["needed", "brief"]


async def test_a_version_tells_what_it_says_and_how_its_tests_ended(world: World) -> None:
    browser = await world.browser("viewer")
    html = await browser.page("/prompts/greeting/versions/2")
    assert heading(html) == "greeting@2"
    passed, failed = rows(html, 1)
    assert (passed["Test"], passed["Result"], "hello" in passed["Answer"]) == ("polite", "passed", True)
    assert (failed["Result"], failed["Answer"]) == ("failed does not contain", "none")
    assert not [action for action in forms(html) if action.endswith("/test")], "a viewer runs no tests"
    assert "They have not been run" in text_of(await browser.page("/prompts/greeting/versions/1"))
    assert (await browser.get("/prompts/greeting/versions/9")).status_code == 404
    assert (await browser.get("/prompts/greeting/versions/x")).status_code == 422
    assert [row["Version"] for row in rows(await browser.page("/prompts/greeting/versions"))] == [
        "greeting@2",
        "greeting@1",
    ]


async def test_versions_are_compared_below_and_beside_each_other(world: World) -> None:
    browser = await world.browser("viewer")
    html = await browser.page("/prompts/greeting/diff")
    below = [each.text() for each in parse(html).find("div", class_="diff").find_all("div")]
    assert below == ["@@ -1,2 +1,2 @@", "Greet {{ who }}.", "− removed: Be kind.", "+ added: Be {{ how }}."]
    assert "User message 2, added" in text_of(html)
    assert [(row["Variable"], row["Change"], row["After"]) for row in rows(html)] == [
        ("how", "added", "default brief"),
        ("who", "changed", "needed, Whom."),
    ]
    beside = parse(await browser.page(links(html)["Beside each other"])).find("div", class_="beside")
    assert [each.text() for each in beside.find_all("div")][-2:] == ["− removed: Be kind.", "+ added: Be {{ how }}."]
    back = await browser.page("/prompts/greeting/diff", **{"from": 2, "to": 2})
    assert "The messages are the same" in text_of(back)


def fields(html: str, action: str) -> dict[str, str]:
    return next(found for path, found in forms(html).items() if path.endswith(action))


async def test_a_prompt_is_made_by_form(world: World) -> None:
    browser = await world.browser()
    form = fields(await browser.page("/prompts/-/new"), "/prompts")
    said = await browser.said(
        "/prompts",
        {
            **form,
            "name": "poem",
            "description": "Rhymes.",
            "system": "You rhyme.\r\nYou are {{ who }}.",
            "content:0": "On {{ what }}.",
            "role:1": "assistant",
            "content:1": "   ",
            "variable:0": "who",
            "default:0": "a poet",
            "variable:1": " what ",
        },
    )
    assert "poem is made." in said
    made = (await world.rest("developer").get("/prompts/poem")).json()
    assert made["description"] == "Rhymes."
    assert made["version"]["messages"] == [
        {"role": "system", "content": "You rhyme.\nYou are {{ who }}."},
        {"role": "user", "content": "On {{ what }}."},
    ]
    assert [(each["name"], each["default"]) for each in made["version"]["variables"]] == [
        ("who", "a poet"),
        ("what", None),
    ]
    assert "no name for a prompt" in await browser.said("/prompts", {**form, "name": "a b", "system": "x"})


async def test_the_form_of_a_new_version_begins_with_the_newest(world: World) -> None:
    browser = await world.browser()
    form = fields(await browser.page("/prompts/greeting/versions/new"), "/prompts/greeting/versions")
    assert (form["system"], form["content:0"], form["content:1"]) == (
        "Greet {{ who }}.\nBe {{ how }}.",
        "Say hello.",
        "",
    )
    assert (form["variable:1"], form["default:1"], form["variable:2"]) == ("how", "brief", "")
    assert "greeting@3 is made." in await browser.said("/prompts/greeting/versions", {**form, "note": "As before."})
    told = (await world.rest("developer").get("/prompts/greeting/diff", params={"from": 2, "to": 3})).json()
    assert {each["change"] for each in told["messages"]} == {"same"}
    assert told["variables"] == []
    refused = await browser.said("/prompts/greeting/versions", {**form, "system": "{{ who.name }}"})
    assert "is no variable" in refused


async def tried(browser: Browser, form: dict[str, str]) -> list[tuple[str, str]]:
    answer = await browser.post("/prompts/greeting/versions/2/try", form)
    shown = parse(answer.text).find("div", id="tried").find_all("div", class_="message")
    return [(each.find("div", class_="who").text(), each.text()) for each in shown]


async def test_a_version_is_tried_with_values(world: World) -> None:
    browser = await world.browser()
    form = fields(await browser.page("/prompts/greeting/versions/2"), "/try")
    assert {"value:who", "value:how", "message", "model"} <= form.keys()
    sent = await tried(browser, {**form, "value:who": "<b>{{ how }}</b>", "model": ""})
    assert sent == [("system", "system Greet <b>{{ how }}</b>. Be brief."), ("user", "user Say hello.")]
    asked = await tried(browser, {**form, "value:who": "Ada", "message": "Who am I?", "model": MODEL})
    assert asked[2:] == [("user", "user Who am I?"), ("assistant", "assistant echo: Who am I?")]
    empty = await browser.said("/prompts/greeting/versions/2/try", {**form, "model": "nobody", "value:who": "Ada"})
    assert "no model 'nobody'" in empty
    viewer = await world.browser("viewer")
    shown = fields(await viewer.page("/prompts/greeting/versions/2"), "/try")
    assert "model" not in shown
    refused = await viewer.post("/prompts/greeting/versions/2/try", {**shown, "value:who": "Ada", "model": MODEL})
    assert "inference.create" in refused.text


async def test_tests_are_changed_and_run(world: World) -> None:
    browser = await world.browser()
    form = fields(await browser.page("/prompts/greeting/tests"), "/tests")
    cases: list[dict[str, Any]] = json.loads(form["tests"])
    assert [each["name"] for each in cases] == ["polite", "loud"]
    assert "this is no JSON" in await browser.said("/prompts/greeting/tests", {"tests": "[{"})
    assert "expects 1 to 20" in await browser.said(
        "/prompts/greeting/tests", {"tests": json.dumps([{**cases[0], "expect": []}])}
    )
    cases[1]["expect"] = [{"equals": "echo: Say hello."}]
    assert "2 tests are kept." in await browser.said("/prompts/greeting/tests", {"tests": json.dumps(cases)})
    async with serving(world.app) as address:
        file = world.wiring.installation.address_file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(address)
        assert "2 of 2 tests passed on tiny." in await browser.said(
            "/prompts/greeting/versions/2/test", {"model": MODEL}
        )
    html = await browser.page("/prompts/greeting/versions/2")
    assert [row["Result"] for row in rows(html, 1)] == ["passed", "passed"]
    assert "in the log" in links(html)


async def test_a_variant_names_a_prompt_in_its_form_and_on_its_page(world: World) -> None:
    browser = await world.browser()
    form = fields(await browser.page("/endpoints/-/new"), "/endpoints")
    assert "can be called now" in await browser.said("/endpoints", {**form, "name": "greeter", "prompt": "greeting@1"})
    html = await browser.page("/endpoints/greeter/variants")
    assert links(html)["greeting@1"].endswith("/prompts/greeting/versions/1")


async def test_an_inference_tells_the_version_that_it_was_made_with(world: World) -> None:
    made = await world.rest("developer").post("/endpoints", json={"name": "greeter", "variant": {"prompt": "greeting"}})
    (variant,) = made.json()["variants"]
    (inference,) = await world.log(
        {
            "endpoint_id": made.json()["id"],
            "variant_id": variant["id"],
            "prompt_version_id": variant["prompt_version_id"],
            "model": "greeter",
        }
    )
    html = await (await world.browser()).page(f"/inferences/{inference}")
    assert links(html)["greeting@2"].endswith("/prompts/greeting/versions/2")
