"""The pages of inferences: filters, pages, exports, one inference whole, feedback by form."""

import csv
import io
import json
from typing import Any

import pytest

from charkha.console.pages import inferences
from tests.console.world import Browser, World, buttons, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio

DOT = "data:image/png;base64,iVBORw0KGgo="


async def ids(browser: Browser, **query: Any) -> list[str]:
    """The ids that the list shows, as it shortens them."""
    return [row["Id"] for row in rows(await browser.page("/inferences", **query))]


def short(inference: str) -> str:
    return inference[-8:]


async def test_each_filter_of_the_list_leaves_what_it_says(world: World) -> None:
    browser, things = await world.browser(), world.things
    expected = [
        ({"episode_id": "talk-1"}, "episode_inference"),
        ({"subject_id": "person-1"}, "episode_inference"),
        ({"status": 503}, "failed_inference"),
        ({"failed": "true"}, "failed_inference"),
        ({"endpoint_id": things["private_endpoint"]}, "private_inference"),
        ({"model": "private"}, "private_inference"),
        ({"q": "lovely (23)"}, "inference"),
    ]
    for query, name in expected:
        assert await ids(browser, **query) == [short(things[name])], query
    assert len(await ids(browser, purpose="evaluation")) == 1
    assert len(await ids(browser, version_id=things["base_version"])) == 29
    assert await ids(browser, min_duration_ms=10**6) == []


async def test_endpoints_are_chosen_by_name(world: World) -> None:
    html = await (await world.browser()).page("/inferences", endpoint_id=world.things["endpoint"])
    options = parse(html).find("select", name="endpoint_id").find_all("option")
    assert [option.text() for option in options] == ["any", "private", "support"]
    assert [option.text() for option in options if "selected" in option.attrs] == ["support"]
    gone = "01a1fdbe-e12c-77f8-8829-000000000000"
    kept = parse(await (await world.browser()).page("/inferences", endpoint_id=gone))
    chosen = [
        option for option in kept.find("select", name="endpoint_id").find_all("option") if "selected" in option.attrs
    ]
    assert [option.attrs["value"] for option in chosen] == [gone]


async def test_the_list_tells_what_was_said_of_each(world: World) -> None:
    shown = {row["Id"]: row for row in rows(await (await world.browser()).page("/inferences"))}
    assert shown[short(world.things["inference"])]["Feedback"] == "comment corrected wrong"
    assert shown[short(world.things["other_inference"])]["Feedback"] == "preferred score 0.75"
    assert shown[short(world.things["failed_inference"])]["Status"] == "503 engine_unavailable"
    assert shown[short(world.things["private_inference"])]["Feedback"] == "–"


async def test_pages_follow_one_another_and_lose_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = await world.browser()
    whole = await ids(browser)
    monkeypatch.setattr("charkha.console.listing.Listing.page.__kwdefaults__", {"limit": 12})
    seen: list[str] = []
    address = "/inferences?purpose=live"
    while address:
        html = await browser.page(address)
        seen += [row["Id"] for row in rows(html)]
        address = links(html).get("Older", "")
    live = await ids(browser, purpose="live", limit=50)
    assert seen[: len(live)] == live
    assert len(seen) == len(set(seen)) == 28
    assert set(seen) < set(whole)


async def test_the_export_has_every_row_and_defuses_formulas(world: World) -> None:
    await world.log({"model": '=HYPERLINK("x")', "minutes": 0.1})
    browser = await world.browser()
    exported = list(csv.DictReader(io.StringIO(await browser.page("/inferences", export="csv", purpose="live"))))
    assert len(exported) == 29
    assert exported[0]["model"] == '\'=HYPERLINK("x")'
    assert tuple(exported[0]) == inferences._LISTING.columns
    one = json.loads(await browser.page("/inferences", export="json", episode_id="talk-1"))
    assert [each["id"] for each in one] == [world.things["episode_inference"]]


async def test_a_wrong_filter_is_told_and_the_list_stays(world: World) -> None:
    browser = await world.browser()
    plain = await browser.get("/inferences", version_id="nonsense")
    assert plain.status_code == 422
    assert "version_id" in text_of(plain.text)
    swapped = await browser.http.get(browser.href("/inferences", version_id="nonsense"), headers={"hx-request": "true"})
    assert (swapped.status_code, swapped.headers["hx-retarget"], swapped.headers["hx-reselect"]) == (
        200,
        "#said",
        ".said",
    )
    assert "version_id" in text_of(swapped.text)


async def test_an_empty_log_says_how_to_fill_it(world: World) -> None:
    browser = await world.browser("operator")
    await world.rest().post("/workspaces", json={"name": "new"})
    await world.wiring.snapshots.refresh()
    browser.workspace = "new"
    html = await browser.page("/inferences")
    assert "No inferences yet" in text_of(html)
    assert "OpenAI(base_url=" in text_of(html)
    assert "Nothing matches" in text_of(await browser.page("/inferences", status=503))


async def test_one_inference_is_told_whole(world: World) -> None:
    things = world.things
    html = await (await world.browser("operator")).page(f"/inferences/{things['inference']}")
    text = text_of(html)
    assert heading(html) == f"Inference {short(things['inference'])}"
    for said in (
        "The new search is lovely (23)",
        "praise",
        "wanted instead question",
        "A person asked, it is no praise.",
    ):
        assert said in text
    found = links(html)
    assert found["support"].endswith(f"/endpoints/{things['endpoint']}")
    assert any(address.endswith(f"/versions/{things['base_version']}") for address in found.values())
    assert parse(html).find("button", data_copy=things["inference"])


async def test_an_inference_by_the_id_of_its_answer(world: World) -> None:
    found = await (await world.browser()).page(f"/inferences/chatcmpl-{world.things['inference']}")
    assert heading(found) == f"Inference {short(world.things['inference'])}"


async def test_what_became_of_it_has_links(world: World) -> None:
    things = world.things
    lesson = {
        "prompt": [{"role": "user", "content": "unseen"}],
        "answer": "bug",
        "inference_id": things["inference"],
    }
    made = await world.rest("developer").post("/datasets", json={"name": "from one", "examples": [lesson]})
    html = await (await world.browser()).page(f"/inferences/{things['inference']}")
    assert links(html)[short(made.json()["id"])].endswith(f"/dataset-versions/{made.json()['id']}")
    other = await (await world.browser()).page(f"/inferences/{things['other_inference']}")
    assert "Nothing was learned from it yet." in text_of(other)


async def test_where_nothing_was_kept_the_page_says_so(world: World) -> None:
    text = text_of(await (await world.browser()).page(f"/inferences/{world.things['private_inference']}"))
    assert "Nothing that was said was kept, only the figures: its endpoint keeps no content." in text
    assert "The request as it was sent" not in text


async def test_tools_and_pictures_are_shown_and_foreign_text_stays_text(world: World) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "<b>"}'}}
    picture, remote = ({"type": "image_url", "image_url": {"url": each}} for each in (DOT, "https://example.org/a.png"))
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "<script>alert(1)</script>\u202e"}, picture, remote]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a red dot"},
    ]
    (made,) = await world.log({"messages": messages, "answer": "", "endpoint_id": None})
    html = await (await world.browser()).page(f"/inferences/{made}")
    main = parse(html).find("main")
    assert [image.attrs["src"] for image in main.find_all("img")] == [DOT]
    assert not main.find_all("script")
    text = main.text()
    for said in (
        "<script>alert(1)</script>U+202E",
        "called look_up",
        "tool call_1",
        "a red dot",
        "Answered with no text.",
    ):
        assert said in text
    assert "https://example.org/a.png, which pages do not load" in text


async def test_feedback_is_given_by_form_with_script_and_without(world: World) -> None:
    browser, path = await world.browser(), f"/inferences/{world.things['failed_inference']}/feedback"
    assert "Recorded: right." in await browser.said(path, {"kind": "thumb", "value": "1"})
    assert "Recorded: corrected." in await browser.said(path, {"kind": "correction", "text": "bug"})
    plain = await browser.post(path, {"kind": "thumb", "value": "0"}, scripted=False)
    assert plain.status_code == 303
    text = text_of(await browser.page(f"/inferences/{world.things['failed_inference']}"))
    assert "wanted instead bug" not in text.split("Feedback on it")[1]
    assert text.split("Feedback on it")[1].startswith(" wrong")


async def test_the_same_form_sent_twice_is_one_piece_of_feedback(world: World) -> None:
    browser, inference = await world.browser(), world.things["old_inference"]
    html = await browser.page(f"/inferences/{inference}")
    form = forms(html)[browser.href(f"/inferences/{inference}/feedback")]
    assert form["once"]
    for _ in range(2):
        await browser.said(f"/inferences/{inference}/feedback", {"kind": "thumb", "value": "1", "once": form["once"]})
    given = await world.rest().get("/feedback", params={"inference_id": inference})
    assert len(given.json()["data"]) == 1


async def test_labels_are_buttons_and_the_answered_one_says_right(world: World) -> None:
    html = await (await world.browser()).page(f"/inferences/{world.things['other_inference']}")
    keys = {button.attrs.get("data-press"): button for button in parse(html).find_all("button")}
    assert [keys[key].text() for key in "ud123"] == ["Right u", "Wrong d", "bug 1", "question answered 2", "praise 3"]
    sent = {
        form.find("button").attrs.get("data-press"): {
            field.attrs["name"]: field.attrs["value"] for field in form.find_all("input")
        }
        for form in parse(html).find_all("form", method="post")
        if form.find_all("button", data_press="1") or form.find_all("button", data_press="2")
    }
    assert (sent["1"]["kind"], sent["1"]["text"]) == ("correction", "bug")
    assert (sent["2"]["kind"], sent["2"]["value"]) == ("thumb", "1")


async def test_refused_feedback_says_why(world: World) -> None:
    browser, path = await world.browser(), f"/inferences/{world.things['inference']}/feedback"
    assert "'text' has 1 to" in await browser.said(path, {"kind": "correction", "text": "  "})
    assert "'much' is no number" in await browser.said(path, {"kind": "score", "value": "much"})
    foreign = f"/inferences/{world.foreign['inference']}/feedback"
    assert "There is no inference" in await browser.said(foreign, {"kind": "thumb", "value": "1"})


async def test_a_viewer_reads_and_gives_nothing(world: World) -> None:
    viewer, inference = await world.browser("viewer"), world.things["inference"]
    html = await viewer.page(f"/inferences/{inference}")
    assert "Right u" not in buttons(html)
    assert "A person asked" in text_of(html)
    answer = await viewer.post(f"/inferences/{inference}/feedback", {"kind": "thumb", "value": "1"}, scripted=False)
    assert answer.status_code == 403


async def test_another_workspace_sees_none_of_it(world: World) -> None:
    stranger = await world.browser("stranger")
    assert (await stranger.get(f"/inferences/{world.things['inference']}")).status_code == 404
    assert short(world.things["inference"]) not in await ids(stranger)
    assert (await stranger.get(f"/console/w/default/inferences/{world.things['inference']}")).status_code in (403, 404)
