"""Adapters as people see them, blends by form, and the way of a file to the API."""

import csv
import io
from typing import Any

import pytest

from charkha.console import security
from tests.console.world import Browser, World, buttons, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def live(world: World) -> dict[str, Any]:
    """The endpoint `support` with its live plan, as the API tells it."""
    found: dict[str, Any] = (await world.rest().get("/endpoints/support?variants=live")).json()
    return found


async def form(browser: Browser, **query: str) -> dict[str, str]:
    """The form of a blend as the page offers it."""
    return forms(await browser.page("/adapters/blend", **query))[browser.href("/adapters/blend")]


async def test_each_adapter_tells_where_it_is_and_answers(world: World) -> None:
    things = world.things
    ours = (await world.rest().get(f"/versions/{things['version']}")).json()
    world.engine.held[:] = [digest for digest, _ in ours["adapters"]]
    html = await (await world.browser("viewer")).page("/adapters")
    found = {row["Adapter"]: row for row in rows(html)}
    assert list(found) == [things["brought_name"], things["version_name"]]
    warm, cold = found[things["version_name"]], found[things["brought_name"]]
    assert (warm["Engines"], cold["Engines"]) == ("local warm", "local cold")
    assert (warm["Answers at"], cold["Answers at"]) == ("support × 1.00, 90 %", "support × 1.00, 10 %")
    assert (warm["Digest"], warm["Base"]) == (ours["adapters"][0][0], "tiny")
    assert cold["Size"].replace("\u2009", " ") == f"{len(b'GGUF an adapter of one s own ')} B"
    assert links(html)[things["version_name"]].endswith(f"/versions/{things['version']}")


async def test_a_gone_file_and_an_adapter_without_traffic_are_told(world: World) -> None:
    await world.rest().request("DELETE", "/endpoints/support")
    for path in world.home.glob("blobs/**/*"):
        if path.is_file():
            path.unlink()
    found = rows(await (await world.browser("viewer")).page("/adapters"))
    assert {row["Answers at"] for row in found} == {"nowhere"}
    assert {row["Size"] for row in found} == {"file is gone"}


async def test_adapters_are_found_by_how_their_name_begins_and_exported(world: World) -> None:
    browser = await world.browser()
    assert [row["Adapter"] for row in rows(await browser.page("/adapters", q="bro"))] == [world.things["brought_name"]]
    assert "Nothing matches" in text_of(await browser.page("/adapters", q="ought"))
    exported = list(csv.DictReader(io.StringIO((await browser.get("/adapters", q="sup", export="csv")).text)))
    assert [(row["id"], row["name"], row["number"]) for row in exported] == [(world.things["version"], "support", "1")]
    assert exported[0]["digests"].startswith('["')
    assert exported[0]["engines"] == '{"local":"cold"}'


async def test_a_blend_begins_with_what_answers_now(world: World) -> None:
    browser = await world.browser("operator")
    offered = await form(browser, endpoint="support", version=world.things["brought_name"])
    assert (offered["version-0"], offered["weight-0"]) == (world.things["version_name"], "1.0")
    assert (offered["version-1"], offered["version-2"]) == (world.things["brought_name"], "")
    assert len([name for name in offered if name.startswith("version-")]) == 8
    assert offered["expected_plan_id"] == (await live(world))["live_plan_id"]
    assert "bare" not in offered
    assert (await form(browser, endpoint="private"))["version-0"] == ""


async def test_a_blend_is_answered_with_from_then_on(world: World) -> None:
    browser, things = await world.browser("operator"), world.things
    typed = {
        **await form(browser, endpoint="support"),
        "weight-0": "0.7",
        "version-5": things["brought_name"],
        "weight-5": "-0,25",
        "name": "mixed",
        "reason": "both know something",
    }
    assert "support answers with mixed from now on.Plan 5: every gateway serves it." in await browser.said(
        "/adapters/blend", typed
    )
    endpoint = await live(world)
    (variant,) = endpoint["variants"]
    assert [(each["version_id"], each["weight"]) for each in variant["adapters"]] == [
        (things["version"], 0.7),
        (things["brought_version"], -0.25),
    ]
    assert (variant["name"], endpoint["plan"]["reason"]) == ("mixed", "both know something")
    assert variant["system_prompt"] == "Say what it is."
    said = await browser.said("/adapters/blend", typed)
    assert "Somebody moved the traffic meanwhile, so nothing was changed. The live plan is number 5" in said


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"version-0": ""}, "The blend has no parts."),
        ({"bare": "on"}, "The model cannot answer alone and with adapters."),
        ({"weight-0": "much"}, "Weight of support@1: 'much' is no number."),
        ({"weight-0": "4.5"}, "Input should be less than or equal to 4"),
        ({"version-0": "none@1"}, "There is no version 'none@1' in this workspace."),
        ({"version-1": "support@1"}, "A blend is of at most 8 different adapters."),
    ],
)
async def test_a_wrong_blend_changes_nothing(world: World, wrong: dict[str, str], refusal: str) -> None:
    browser = await world.browser("operator")
    typed = {**await form(browser, endpoint="support"), **wrong}
    assert refusal in await browser.said("/adapters/blend", typed)
    assert (await live(world))["plan"]["number"] == 4


async def test_the_model_answers_alone_where_that_is_said(world: World) -> None:
    browser = await world.browser("operator")
    typed = {**await form(browser, endpoint="support"), "version-0": "", "bare": "on", "name": "bare"}
    answer = await browser.post("/adapters/blend", typed, scripted=False)
    assert (answer.status_code, answer.headers["location"]) == (303, browser.href("/endpoints/support"))
    assert [each["adapters"] for each in (await live(world))["variants"]] == [[]]


async def test_blending_and_bringing_are_for_who_may(world: World) -> None:
    viewer, developer = await world.browser("viewer"), await world.browser("developer")
    assert {"Blend b", "Upload u", "Blend it"} & set(links(await viewer.page("/adapters"))) == set()
    offered = set(links(await developer.page("/adapters")))
    assert ("Upload u" in offered, "Blend b" in offered) == (True, False)
    assert (await viewer.get("/adapters/upload")).status_code == 403
    for browser in (viewer, developer):
        assert (await browser.get("/adapters/blend")).status_code == 403
        assert (await browser.post("/adapters/blend", {"endpoint": "support"}, scripted=False)).status_code == 403
    stranger = await world.browser("stranger")
    names = [row["Adapter"] for row in rows(await stranger.page("/adapters"))]
    assert names
    assert all(name.startswith("foreign-") for name in names)
    assert (await stranger.get("/adapters/blend", endpoint="support")).status_code == 404


async def test_a_file_goes_through_the_door_and_a_refusal_says_what_to_do(world: World) -> None:
    browser = await world.browser()
    html = await browser.page("/adapters/upload")
    upload = parse(html).find("form", id="upload").attrs
    assert heading(html) == "Upload an adapter"
    assert parse(html).find("input", name="base").attrs["value"] == "tiny@0"
    assert "Upload it" in buttons(html)
    headers = {"content-type": upload["data-media-type"], security.CSRF_HEADER: await browser.csrf()}

    async def send(content: bytes) -> Any:
        asked = {"name": "mine", "base": "tiny@0"}
        return await browser.http.post(upload["data-door"], params=asked, content=content, headers=headers)

    refused = await send(b"PK a zip file")
    assert (refused.status_code, refused.json()["error"]["message"][:29]) == (400, "The file is no GGUF adapter. ")
    assert "convert_lora_to_gguf" in refused.json()["error"]["remedy"]
    made = await send(b"GGUF of mine")
    assert made.status_code == 201
    assert (await browser.get(f"{upload['data-go']}{made.json()['id']}")).status_code == 200
    assert rows(await browser.page("/adapters"))[0]["Adapter"] == "mine@1"
