"""What somebody chooses stays chosen, what they sign in to stays signed in, and pages work without their scripts."""

from datetime import datetime

import pytest
from playwright.sync_api import Page, expect

from charkha.console.security import COOKIE
from tests.console.browser.house import House, call
from tests.console.browser.looking import Looking

PAPER = "getComputedStyle(document.documentElement).backgroundColor"


def _brightness(page: Page) -> int:
    colour = page.evaluate(PAPER)
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3])


def test_the_appearance_follows_the_system_until_one_is_chosen(looking: Looking) -> None:
    with looking.person() as context:
        page = context.new_page()
        page.goto(looking.address("/"))
        assert _brightness(page) > 600
        page.emulate_media(color_scheme="dark")
        assert _brightness(page) < 150
        page.get_by_label("Appearance").select_option("Light")
        assert _brightness(page) > 600
        page.goto(looking.address("/inferences"))
        assert _brightness(page) > 600
        expect(page.get_by_label("Appearance")).to_have_value("light")
        another = context.new_page()
        another.goto(looking.address("/"))
        assert _brightness(another) > 600
        another.get_by_label("Appearance").select_option("System appearance")
        assert _brightness(another) > 600
        another.emulate_media(color_scheme="dark")
        assert _brightness(another) < 150


@pytest.mark.parametrize(
    ("zone", "shown"), [("Asia/Tokyo", "2 Jan 2026, 12:04:05"), ("America/New_York", "1 Jan 2026, 22:04:05")]
)
def test_times_are_told_in_the_visitors_zone(looking: Looking, house: House, zone: str, shown: str) -> None:
    with looking.page("/console/_components", timezone_id=zone, locale="en-GB") as page:
        at = page.locator("time").first
        expect(at).to_have_text(shown)
        assert zone in (at.get_attribute("title") or "")
        assert "2026-01-02T03:04:05.000Z" in (at.get_attribute("title") or "")


def test_a_chosen_zone_stays(looking: Looking) -> None:
    with looking.page("/settings", timezone_id="Asia/Tokyo", locale="en-GB") as page:
        page.get_by_label("Times are shown in").select_option("UTC")
        for path in ("/inferences", "/console/_components"):
            page.goto(looking.address(path))
        expect(page.locator("time").first).to_have_text("2 Jan 2026, 03:04:05")
        page.goto(looking.address("/settings"))
        expect(page.get_by_label("Times are shown in")).to_have_value("UTC")
        page.get_by_label("Times are shown in").select_option("the zone of this machine")
        page.goto(looking.address("/console/_components"))
        expect(page.locator("time").first).to_have_text("2 Jan 2026, 12:04:05")


def test_what_is_recent_is_told_by_how_long_ago_it_was(looking: Looking) -> None:
    with looking.page("/inferences") as page:
        first = page.locator("tbody time").first
        expect(first).to_have_text("5m ago")
        assert datetime.fromisoformat(first.get_attribute("datetime") or "")


def test_the_cookie_is_kept_on_this_machine_without_tls_and_hidden_from_scripts(looking: Looking) -> None:
    with looking.person() as context:
        cookie = next(each for each in context.cookies() if each.get("name") == COOKIE)
        assert (cookie.get("secure"), cookie.get("httpOnly"), cookie.get("sameSite")) == (True, True, "Strict")
        page = context.new_page()
        page.goto(looking.address("/"))
        assert page.evaluate("document.cookie") == ""
        assert page.url.startswith("http://127.0.0.1")


def test_a_link_on_another_site_leads_in_although_the_cookie_was_withheld(looking: Looking) -> None:
    with looking.person("viewer") as context:
        page = context.new_page()
        elsewhere = looking.house.address.replace("127.0.0.1", "localhost")
        page.goto(f"{elsewhere}/console/sign-in")
        wanted = f"{looking.house.address}{looking.address('/inferences')}?status=503"
        page.evaluate("(to) => { document.querySelector('main').innerHTML = `<a href='${to}'>go</a>`; }", wanted)
        page.get_by_role("link", name="go").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Inferences")
        assert page.url == wanted
        expect(page.locator("tbody tr")).to_have_count(1)


def test_a_link_signs_in_by_being_opened_and_leaves_no_token_behind(looking: Looking, house: House) -> None:
    made = house.do(lambda world: call(world, "POST", "/sign-in-links"))
    context = looking.chromium.new_context(base_url=house.address)
    page = context.new_page()
    page.goto(made["path"])
    page.wait_for_url("**/console/w/default/")
    assert "charkha_link" not in page.url
    page.go_back()
    assert "charkha_link" not in page.url
    context.close()


def test_pages_and_forms_work_without_scripts(looking: Looking, house: House) -> None:
    with looking.page("/inferences", who="developer", java_script_enabled=False) as page:
        page.get_by_label("Status").select_option("503")
        page.get_by_label("Text").press("Enter")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.goto(looking.address(f"/inferences/{house.things['default']['old_inference']}"))
        page.get_by_label("What it should have answered").fill("praise")
        page.get_by_role("button", name="Correct it").click()
        expect(page.locator(".message.wanted")).to_contain_text("praise")


def test_one_signs_out(looking: Looking, house: House) -> None:
    context = looking.chromium.new_context(base_url=house.address)
    page = context.new_page()
    page.goto("/console/")
    page.get_by_label("Sign-in link or API key").fill(house.seeded.keys["viewer"])
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/console/sign-in")
    page.goto(looking.address("/inferences"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    context.close()


def test_a_page_from_before_another_sign_in_is_refused_and_says_so(looking: Looking, house: House) -> None:
    with looking.page(f"/inferences/{house.things['default']['inference']}", who="developer") as page:
        page.evaluate("document.querySelectorAll('input[name=csrf]').forEach((each) => (each.value = 'x'.repeat(43)))")
        page.evaluate("document.body.removeAttribute('hx-headers')")
        page.get_by_label("What it should have answered").fill("never")
        page.get_by_role("button", name="Correct it").click()
        expect(page.get_by_role("alert")).to_contain_text("This page belongs to another sign-in.")


def test_what_does_not_answer_is_told(looking: Looking, house: House) -> None:
    with looking.page(f"/inferences/{house.things['default']['inference']}", who="developer") as page:
        page.get_by_label("What it should have answered").fill("never")
        page.context.set_offline(True)
        page.get_by_role("button", name="Correct it").click()
        expect(page.get_by_role("status")).to_contain_text("Charkha does not answer.")
        expect(page.get_by_label("What it should have answered")).to_have_value("never")
        page.context.set_offline(False)
