"""The playground in Chromium: two answers stream side by side, are measured, stopped, compared, rated and shared."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from charkha.observe.shipper import Shipper
from charkha.testing.fake_engine import FakeModel
from tests.console.browser.house import House, call
from tests.console.browser.looking import Looking
from tests.console.world import World


@pytest.fixture
def model(house: House) -> Iterator[FakeModel]:
    """The model that answers, slow enough to be watched; afterwards as it was."""
    house.world.model.requests.clear()
    yield house.world.model
    house.world.model.pause, house.world.model.failure = 0.0, None
    house.world.model.script.clear()


def lane(page: Page, name: str) -> Locator:
    """One side."""
    return page.get_by_role("region", name=f"Answer {name}")


def figure(page: Page, name: str, of: str) -> Locator:
    """One of a side's figures."""
    return lane(page, name).locator(f"[data-figure={of}]")


def ask(page: Page, question: str) -> None:
    """Ask both, by keyboard."""
    page.get_by_label("Message").fill(question)
    page.keyboard.press("Control+Enter")


def answers(page: Page, name: str) -> Locator:
    """What one side answered."""
    return lane(page, name).locator(".message.assistant bdi")


def test_both_answer_and_each_tells_what_it_took(looking: Looking, house: House, model: FakeModel) -> None:
    with looking.page("/playground?a=private&b=tiny@0", who="developer") as page:
        ask(page, "Is it on?")
        for name in "AB":
            expect(answers(page, name)).to_have_text("echo: Is it on?")
            expect(figure(page, name, "first")).to_have_text(re.compile(r"^\d+ ms$"))
            expect(figure(page, name, "tokens")).to_have_text(re.compile(r"^\d+ read, \d+ written$"))
        expect(figure(page, "A", "by")).to_have_text("base")
        expect(figure(page, "B", "by")).to_have_text("tiny@0")
        expect(page.locator("#verdict")).to_have_text("Both say the same, to the letter.")
        page.get_by_label("Message").fill("And now?")
        page.keyboard.press("Control+Enter")
        expect(answers(page, "B")).to_have_count(2)
    assert [len(each["messages"]) for each in model.requests if each["messages"][0]["role"] == "user"][-1] == 3


@pytest.fixture
def terse(house: House) -> Iterator[str]:
    """A variant of an endpoint, as the page offers it; both are gone afterwards."""
    variant = {"name": "terse", "system_prompt": "Say what it is.", "parameters": {"temperature": 0, "max_tokens": 8}}
    made = house.do(lambda world: call(world, "POST", "/endpoints", {"name": "asked", "variant": variant}))
    yield f"variant:{made['id']}:{made['variants'][0]['id']}"
    house.do(lambda world: call(world, "DELETE", "/endpoints/asked"))


def test_variants_are_compared_with_their_own_prompt_and_parameters(
    looking: Looking, terse: str, model: FakeModel
) -> None:
    with looking.page(f"/playground?a={terse}&b=", who="developer") as page:
        expect(lane(page, "A").get_by_role("combobox")).to_have_value(terse)
        page.get_by_label("Longest answer").fill("")
        ask(page, "Is it a bug?")
        expect(answers(page, "A")).to_have_text("echo: Is it a bug?")
        expect(page.locator("#verdict")).to_have_text("")
    (request,) = model.requests
    assert request["messages"][0] == {"role": "system", "content": "Say what it is."}
    assert (request["temperature"], request["max_tokens"]) == (0, 8)


def test_one_side_is_stopped_and_the_other_goes_on(looking: Looking, model: FakeModel) -> None:
    model.pause = 0.4
    with looking.page("/playground?a=private&b=tiny@0", who="developer") as page:
        ask(page, "one two three four")
        expect(page.get_by_role("button", name="Stop both")).to_be_visible()
        lane(page, "A").get_by_role("button", name="Stop A").click()
        expect(lane(page, "A")).to_contain_text("Stopped.")
        expect(lane(page, "B").get_by_role("button", name="Stop B")).to_be_visible()
        page.keyboard.press("Escape")
        expect(lane(page, "B")).to_contain_text("Stopped.")
        expect(page.get_by_role("button", name="Stop both")).not_to_be_visible()
        model.pause = 0.0
        ask(page, "and again")
        for name in "AB":
            expect(answers(page, name).last).to_have_text("echo: and again")
    roles = [each["role"] for each in model.requests[-1]["messages"]]
    assert "user user" not in " ".join(roles), "a question without an answer does not stay in the conversation"


def test_a_refusal_is_told_where_the_answer_would_be(looking: Looking, model: FakeModel) -> None:
    model.failure = (400, {"message": "The model cannot do that.", "type": "invalid_request_error"})
    with looking.page("/playground?a=support&b=", who="developer") as page:
        ask(page, "Impossible?")
        expect(lane(page, "A")).to_contain_text("Not answered:")
        expect(lane(page, "A").get_by_role("button", name="Right")).not_to_be_visible()


def test_answers_are_preferred_by_keyboard(looking: Looking, model: FakeModel) -> None:
    with looking.page("/playground?a=private&b=tiny@0", who="developer") as page:
        page.keyboard.press("Escape")
        page.keyboard.press("2")  # nothing has been answered: nothing is preferred
        page.keyboard.press("m")
        expect(page.get_by_label("Message")).to_be_focused()
        ask(page, "Which?")
        prefer = [lane(page, name).get_by_role("button", name="Prefer this one") for name in "AB"]
        expect(prefer[1]).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        expect(prefer[1]).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("1")
        expect(prefer[0]).to_have_attribute("aria-pressed", "true")
        expect(prefer[1]).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("m")
        expect(page.get_by_label("Message")).to_be_focused()


def test_a_link_leads_to_the_same_question(looking: Looking, model: FakeModel) -> None:
    with looking.page("/playground", who="developer", permissions=["clipboard-read", "clipboard-write"]) as page:
        lane(page, "B").get_by_role("combobox").select_option("tiny@0")
        page.get_by_label("System prompt").fill("Be brief & kind.")
        page.get_by_label("Temperature").fill("0.5")
        page.get_by_label("Message").fill("What is it?")
        page.get_by_role("button", name="Copy link").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        link = page.evaluate("navigator.clipboard.readText()")
        page.goto(link)
        expect(page.get_by_label("Message")).to_have_value("What is it?")
        expect(page.get_by_label("System prompt")).to_have_value("Be brief & kind.")
        expect(page.get_by_label("Temperature")).to_have_value("0.5")
        expect(lane(page, "B").get_by_role("combobox")).to_have_value("tiny@0")
    assert model.requests == [], "a link asks nothing by itself"


def test_what_each_costs_is_told_once_the_log_has_it(looking: Looking, house: House, model: FakeModel) -> None:
    with looking.page("/playground?a=private&b=tiny@0", who="developer") as page:
        ask(page, "What is it worth?")
        expect(page.locator("#verdict")).not_to_have_text("")

        async def ship(world: World) -> None:
            shipper = Shipper(world.wiring.database, world.wiring.installation.spool)
            await shipper.ship_once()
            shipper.close()

        house.do(ship)
        for name in "AB":
            expect(figure(page, name, "cost")).to_have_text(re.compile(r"^0\.0\d+ EUR$"))
