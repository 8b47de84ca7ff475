"""Prompts by hand: a version is tried on its page, and an endpoint gets its values in the playground."""

from playwright.sync_api import expect

from tests.console.browser.house import House, call
from tests.console.browser.looking import Looking
from tests.console.world import MODEL


def test_a_version_is_tried_without_leaving_its_page(looking: Looking) -> None:
    with looking.page("/prompts/greeting/versions/2") as page:
        page.get_by_label("who").fill("<b>Ada</b>")
        page.get_by_label("Ask", exact=False).fill(MODEL)
        page.get_by_role("button", name="Try it").click()
        tried = page.locator("#tried")
        expect(tried).to_contain_text("Greet <b>Ada</b>.")
        expect(tried).to_contain_text("echo: Say hello.")
        expect(page.get_by_label("who")).to_have_value("<b>Ada</b>")
        page.get_by_label("who").fill("")
        page.get_by_role("button", name="Try it").click()
        expect(page.locator("#tried")).to_contain_text("Greet .")


def test_an_endpoint_gets_its_values_in_the_playground(looking: Looking, house: House) -> None:
    variant = {"prompt": "greeting@1"}
    house.do(lambda world: call(world, "POST", "/endpoints", {"name": "values", "variant": variant}))
    with looking.page("/playground?a=values") as page:
        page.get_by_label("B", exact=True).select_option("")
        for values, told in (("", "needs a value for 'who'"), ("{", "JSON"), ('{"who": "Ada"}', "echo: Hello there")):
            page.get_by_label("Values", exact=False).fill(values)
            page.get_by_label("Message").fill("Hello there")
            page.get_by_role("button", name="Ask both").click()
            expect(page.locator("[data-lane=a]")).to_contain_text(told)
        expect(page.locator("[data-lane=a] [data-talk]")).to_contain_text("echo: Hello there")
