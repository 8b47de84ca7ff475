"""Text that attacks its reader, in every field that users, applications and models can fill: it is shown, and does nothing."""

import pytest
from playwright.sync_api import expect

from tests.chromium import Thread
from tests.console.browser.hostile import ALL, CONTROLS, MEGABYTE, SCRIPTS
from tests.console.browser.house import House
from tests.console.browser.looking import Look, Looking
from tests.console.browser.test_pages import MOST_BYTES
from tests.console.places import DECLARED, filled

MORE = ("/?endpoint=private", "/runs/{failed_run}", "/releases/{promoted_release}", "/versions/{version}?all=1")
"""Pages that look otherwise with other things."""


@pytest.fixture(params=[*DECLARED, *MORE], ids=lambda declared: declared.removeprefix("/console/w/{workspace}"))
def look(request: pytest.FixtureRequest, looking: Looking, house: House, chromium_thread: Thread) -> Look:
    """One page of the hostile workspace as it was seen."""
    return chromium_thread.do(looking.look, filled(request.param, house.things["hostile"]), "hostile", axe=False)


def test_nothing_of_it_runs_or_leads_elsewhere(look: Look, house: House) -> None:
    assert look.status == 200
    assert look.intruders == []
    assert look.said == []
    assert [each for each in look.requests if not each.startswith(f"{house.address}/console/")] == []


def test_nothing_of_it_breaks_the_page(look: Look) -> None:
    assert look.breaks == []


def test_nothing_of_it_changes_how_its_surroundings_read(look: Look) -> None:
    assert look.unseen == []


def test_nothing_of_it_makes_the_page_large(look: Look) -> None:
    assert look.sent <= MOST_BYTES


def test_a_megabyte_on_one_line_is_a_page_as_any_other(looking: Looking, house: House) -> None:
    look = looking.look(f"/inferences/{house.things['hostile']['large_inference']}", "hostile", axe=False)
    assert (look.status, look.breaks, look.intruders) == (200, [], [])
    assert look.sent <= MOST_BYTES
    with looking.page(looking.address(f"/inferences/{house.things['hostile']['large_inference']}", "hostile")) as page:
        shown = page.locator("main").inner_text()
        assert MEGABYTE[:1000] in shown
        assert "more characters" in shown


def test_what_was_said_can_be_read_word_for_word(looking: Looking, house: House) -> None:
    with looking.page(looking.address(f"/inferences/{house.things['hostile']['inference']}", "hostile")) as page:
        shown = page.locator(".message").first.inner_text()
        for text in SCRIPTS:
            assert text in shown
        assert "U+202E" in shown
        assert "U+E0069" in shown


def test_hovering_and_focusing_wakes_nothing(looking: Looking, house: House) -> None:
    with looking.page(looking.address("/inferences", "hostile")) as page:
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss())[1])
        page.locator("tbody tr").first.wait_for()
        for row in page.locator("tbody tr").all()[:12]:
            row.hover()
        for _ in range(40):
            page.keyboard.press("Tab")
        assert page.evaluate("window.pwned") is None
        assert dialogs == []


@pytest.mark.parametrize("text", [SCRIPTS[0], SCRIPTS[1], ALL[:190], CONTROLS])
def test_what_is_typed_into_filters_and_the_palette_is_text(looking: Looking, text: str) -> None:
    with looking.page("/inferences") as page:
        page.get_by_label("Text").fill(text)
        expect(page.get_by_text("Nothing matches")).to_be_visible()
        assert page.evaluate("window.pwned") is None
        page.goto(looking.address("/"))
        page.keyboard.press("Control+k")
        page.get_by_role("combobox", name="Find a page or open an id").fill(text)
        found = page.locator("#palette-list").get_by_role("option")
        expect(found).to_contain_text(["Search inferences for"])
        assert page.evaluate("window.pwned") is None
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nothing matches")).to_be_visible()
        assert page.evaluate("window.pwned") is None
