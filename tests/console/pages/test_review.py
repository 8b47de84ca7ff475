"""The review: the next answer that nobody judged, by key, and the place in the address."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from charkha.console.pages import review
from tests.console.world import Browser, Node, World, forms, parse, text_of

pytestmark = pytest.mark.anyio

PATH = "/feedback/review"


def shown(html: str) -> str | None:
    """The id of the inference that is shown, or None."""
    section = parse(html).find_all("section", aria_labelledby="question")
    return section[0].find("a", class_="mono").attrs["href"].rsplit("/", 1)[1] if section else None


def key(html: str, press: str) -> Node:
    return next(node for node in parse(html).walk() if node.attrs.get("data-press") == press)


async def judged(world: World, inference: str) -> list[dict[str, Any]]:
    answer = await world.rest().get("/feedback", params={"inference_id": inference})
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def send(browser: Browser, html: str, press: str, **more: str) -> str:
    """Press a key's button: send its form as htmx does, and return what comes in its place."""
    for form in parse(html).find_all("form", method="post"):
        if form.find_all("button", data_press=press) or form.find_all("textarea", data_press=press):
            fields = {each.attrs["name"]: each.attrs.get("value", "") for each in form.find_all("input")} | more
            answer = await browser.post(form.attrs["action"], fields)
            assert answer.status_code == 200, text_of(answer.text)
            return answer.text
    raise AssertionError(f"nothing has the key {press}")


async def test_it_shows_the_newest_live_answer_without_feedback(world: World) -> None:
    html = await (await world.browser()).page(PATH)
    assert shown(html) == world.things["episode_inference"]  # later ones failed, were not live, or keep nothing
    text = text_of(html)
    assert "0 judged in this sitting" in text
    assert "It crashes when I save" in text
    assert [key(html, press).text() for press in "uds123"] == [
        "Right u",
        "Wrong d",
        "Skip s",
        "bug answered 1",
        "question 2",
        "praise 3",
    ]


async def test_each_key_judges_and_the_next_answer_comes(world: World) -> None:
    browser = await world.browser()
    html = await browser.page(PATH)
    given = []
    for count, (press, more) in enumerate((("u", {}), ("d", {}), ("2", {}), ("c", {"text": "a wish"})), 1):
        inference = shown(html)
        assert inference
        html = await send(browser, html, press, **more)
        assert f"{count} judged in this sitting; the last one {inference[-8:]}" in text_of(html)
        given += [(each["kind"], each["value"], each["text"]) for each in await judged(world, inference)]
        assert shown(html) not in (inference, None)
    assert given == [
        ("thumb", 1.0, None),
        ("thumb", 0.0, None),
        ("correction", None, "question"),
        ("correction", None, "a wish"),
    ]


async def test_those_with_feedback_are_passed(world: World) -> None:
    browser = await world.browser()
    html = await browser.page(PATH, after=world.things["episode_inference"])
    # The newest of the series and the one before it have feedback already.
    assert shown(html) not in (world.things["inference"], world.things["other_inference"])
    assert "2 passed that had feedback" in text_of(html)


async def test_the_place_is_in_the_address(world: World) -> None:
    browser = await world.browser()
    html = await browser.page(PATH)
    first = shown(html)
    fields = {"kind": "thumb", "value": "1", "done": "6", "endpoint": world.things["endpoint"]}
    answer = await browser.post(f"{PATH}/{first}", fields)
    address = answer.headers["hx-replace-url"]
    assert parse_qs(urlsplit(address).query) == {
        "after": [first],
        "done": ["7"],
        "endpoint": [world.things["endpoint"]],
    }
    again = await browser.page(address)
    assert shown(again) == shown(answer.text)
    assert "7 judged in this sitting" in text_of(again)
    plain = await browser.post(f"{PATH}/{shown(again)}", {"kind": "thumb", "value": "0"}, scripted=False)
    assert (plain.status_code, parse_qs(urlsplit(plain.headers["location"]).query)["done"]) == (303, ["1"])


async def test_skipping_goes_on_and_says_nothing(world: World) -> None:
    browser = await world.browser()
    html = await browser.page(PATH)
    skipped = shown(html)
    assert skipped
    after = await browser.page(key(html, "s").attrs["href"])
    assert shown(after) not in (skipped, None)
    assert await judged(world, skipped) == []
    assert "0 judged" in text_of(after)


async def test_one_endpoint_alone_and_none_that_keeps_nothing(world: World) -> None:
    browser = await world.browser()
    await world.log({"minutes": 0, "endpoint_id": None, "model": "elsewhere"})
    html = await browser.page(PATH, endpoint=world.things["endpoint"])
    assert shown(html) == world.things["episode_inference"]
    silent = await browser.page(PATH, endpoint=world.things["private_endpoint"])
    assert shown(silent) is None
    assert "All judged" in text_of(silent)


async def test_without_labels_no_label_is_offered(world: World) -> None:
    await world.log({"minutes": 0, "endpoint_id": None, "model": "elsewhere"})
    html = await (await world.browser()).page(PATH)
    assert "elsewhere" in text_of(html)
    assert "Which label is it?" not in text_of(html)
    assert not [node for node in parse(html).walk() if node.attrs.get("data-press") == "1"]


async def test_it_looks_only_so_far_at_once_and_says_where_to_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "_PAGES", 1)
    monkeypatch.setattr(review, "_PAGE", 2)
    browser = await world.browser()
    html = await browser.page(PATH, after=world.things["episode_inference"])
    assert shown(html) is None
    assert "Nothing to judge among these" in text_of(html)
    onwards = await browser.page(key(html, "s").attrs["href"])
    assert shown(onwards) is not None


async def test_answers_that_have_lots_of_feedback_are_still_passed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "_MOST_FEEDBACK", 1)
    html = await (await world.browser()).page(PATH, after=world.things["episode_inference"])
    assert "2 passed that had feedback" in text_of(html)


async def test_the_end_is_told(world: World) -> None:
    html = await (await world.browser()).page(PATH, after=world.things["old_inference"])
    assert shown(html) is None
    assert "All judged" in text_of(html)
    assert key(html, "s").text() == "From the newest again s"


async def test_a_refusal_leaves_the_place(world: World) -> None:
    browser = await world.browser()
    path = forms(await browser.page(PATH))
    answer = await browser.post(next(each for each in path if "review" in each), {"kind": "correction", "text": " "})
    assert answer.headers["hx-retarget"] == "#said"
    assert "'text' has 1 to" in text_of(answer.text)
    odd = await browser.page(PATH, done="many")
    assert "0 judged" in text_of(odd)


async def test_only_who_may_judge_reviews_and_only_their_own(world: World) -> None:
    viewer = await world.browser("viewer")
    assert (await viewer.get(PATH)).status_code == 403
    stranger = await world.browser("stranger")
    assert shown(await stranger.page(PATH)) == world.foreign["episode_inference"]
    sent = await stranger.post(f"{PATH}/{world.things['inference']}", {"kind": "thumb", "value": "1"})
    assert "There is no inference" in text_of(sent.text)
