"""The console by keyboard alone: one finds pages, goes through lists, fills forms, and always sees where one is."""

import re

import pytest
from playwright.sync_api import expect

from tests.console.browser.house import House
from tests.console.browser.looking import Looking

FOCUSED = "document.activeElement.textContent.trim() || document.activeElement.id"


def test_the_first_tab_leads_past_the_menu(looking: Looking) -> None:
    with looking.page("/inferences") as page:
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == "Skip to the page"
        expect(page.get_by_text("Skip to the page")).to_be_in_viewport()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


def test_letters_lead_to_pages(looking: Looking) -> None:
    with looking.page("/") as page:
        keys = {
            link.get_attribute("data-key"): link.get_attribute("href") for link in page.locator("nav a[data-key]").all()
        }
        assert len(keys) == page.locator("nav a").count() > 8
        for key in ("i", "w"):
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(f"**{keys[key]}")
            expect(page.locator("nav a[aria-current=page]")).to_have_attribute("data-key", key)


def test_rows_are_gone_through_and_opened(looking: Looking) -> None:
    with looking.page("/inferences") as page:
        rows = page.locator("tbody tr")
        for key in "jjjk":
            page.keyboard.press(key)
        expect(rows.nth(1)).to_have_attribute("aria-selected", "true")
        expect(page.locator("tr[aria-selected=true]")).to_have_count(1)
        wanted = rows.nth(1).get_by_role("link").last.get_attribute("href")
        assert page.evaluate("document.activeElement.getAttribute('href')") == wanted
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{wanted}")
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("Inferences")


def test_filters_are_reached_and_letters_typed_into_them_stay_there(looking: Looking) -> None:
    with looking.page("/inferences") as page:
        page.keyboard.press("/")
        page.keyboard.type("jg?k save")
        expect(page.get_by_label("Text")).to_have_value("jg?k save")
        expect(page.locator("dialog[open]")).to_have_count(0)
        page.wait_for_url("**q=jg*")
        page.get_by_label("Text").fill("praise")
        page.wait_for_url("**q=praise*")
        expect(page.locator("tbody tr")).not_to_have_count(0)
        page.reload()
        expect(page.get_by_label("Text")).to_have_value("praise")


def test_the_palette_finds_pages_ids_and_words(looking: Looking, house: House) -> None:
    with looking.page("/") as page:
        page.keyboard.press("Control+k")
        box = page.get_by_role("combobox", name="Find a page or open an id")
        found = page.locator("#palette-list").get_by_role("option")
        expect(box).to_be_focused()
        box.fill("thumbs")
        expect(found.first).to_contain_text("Feedback")
        box.fill("")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        expect(found.nth(1)).to_have_attribute("aria-selected", "true")
        page.keyboard.press("Escape")
        expect(box).not_to_be_visible()
        page.keyboard.press("Control+k")
        box.fill("inferences log")
        page.keyboard.press("Enter")
        page.wait_for_url("**/inferences")
        page.keyboard.press("Control+k")
        box.fill(house.things["default"]["inference"])
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/inferences/{house.things['default']['inference']}")


def test_help_says_what_the_keys_do(looking: Looking) -> None:
    with looking.page("/inferences") as page:
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keyboard")
        expect(dialog).to_be_visible()
        page.keyboard.press("j")
        expect(page.locator("tr[aria-selected=true]")).to_have_count(0)
        page.keyboard.press("Escape")
        expect(dialog).not_to_be_visible()


def test_an_answer_is_judged_and_corrected(looking: Looking, house: House) -> None:
    with looking.page(f"/inferences/{house.things['default']['other_inference']}", who="developer") as page:
        page.keyboard.press("u")
        expect(page.get_by_role("status")).to_contain_text("Recorded: right.")
        page.keyboard.press("c")
        expect(page.get_by_label("What it should have answered")).to_be_focused()
        page.keyboard.type("bug")
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED).startswith("Correct it")
        page.keyboard.press("Enter")
        expect(page.locator(".message.wanted")).to_contain_text("bug")


def test_what_is_being_typed_outlives_the_page_being_made_anew(looking: Looking, house: House) -> None:
    with looking.page(f"/inferences/{house.things['default']['episode_inference']}", who="developer") as page:
        wanted = page.get_by_label("What it should have answered")
        wanted.fill("half a tho")
        page.get_by_role("button", name="Right", exact=False).first.click()
        expect(page.get_by_role("heading", name="Feedback on it").locator("..")).to_contain_text("right")
        expect(wanted).to_have_value("half a tho")


def test_a_dialog_holds_the_focus_and_gives_it_back(looking: Looking) -> None:
    with looking.page("/console/_components") as page:
        opener = page.get_by_role("button", name="Ask first").first
        opener.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Do you want that?")
        expect(dialog).to_be_visible()
        for _ in range(8):
            page.keyboard.press("Tab")
            assert page.evaluate(
                "!document.activeElement.closest('main') || !!document.activeElement.closest('dialog')"
            )
        page.keyboard.press("Escape")
        expect(dialog).not_to_be_visible()
        expect(opener).to_be_focused()


FOCUS = """() => {
  const node = document.activeElement, style = getComputedStyle(node);
  if (node === document.body || node.id === "main") return true;
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
}"""


@pytest.mark.parametrize("path", ["/", "/inferences", "/console/_components", "/console/sign-in"])
def test_one_always_sees_where_one_is(looking: Looking, path: str) -> None:
    with looking.page(path) as page:
        passed = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            assert page.evaluate(FOCUS), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
            passed.add(page.evaluate("document.activeElement.outerHTML.slice(0, 300)"))
        assert len(passed) > 2


def test_the_menu_opens_on_a_small_screen(looking: Looking) -> None:
    with looking.page("/", width=390) as page:
        menu = page.get_by_role("button", name="Menu")
        expect(page.get_by_role("navigation", name="Pages")).not_to_be_visible()
        menu.focus()
        page.keyboard.press("Enter")
        expect(menu).to_have_attribute("aria-expanded", "true")
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=re.compile("Inferences")).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Inferences")
