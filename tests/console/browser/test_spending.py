"""Usage, limits and prices in Chromium: pictures that are drawn, bars that move, and forms that a keyboard fills."""

import re
import time
from typing import Any

from playwright.sync_api import expect

from charkha.govern.limits import store
from charkha.govern.limits.domain import span_of
from charkha.govern.limits.leases import Leases
from tests.console.browser.house import House, call
from tests.console.browser.looking import Looking
from tests.console.world import World


def test_usage_is_drawn_in_layers_that_tell_their_own_height(looking: Looking) -> None:
    with looking.page("/usage?range=7") as page:
        picture = page.locator("#plot-requests")
        expect(picture.locator("canvas")).to_be_visible()
        box = picture.locator(".u-over").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] - 12, box["y"] + box["height"] / 2)
        legend = picture.locator(".u-legend")
        expect(legend).to_contain_text("support")
        told = re.findall(r"(\d+)", legend.locator(".u-series").filter(has_text="support").inner_text())
        assert told, legend.inner_text()
        assert int(told[-1]) >= 1
        page.get_by_label("Range").select_option("12 months")
        page.wait_for_url("**range=365*")
        expect(page.locator("#plot-requests canvas")).to_be_visible()
        expect(page.locator(".card", has=page.locator("#plot-requests")).locator("h2")).to_contain_text(
            "by month and model"
        )


def test_a_limit_is_added_by_keyboard_and_its_bar_moves_by_itself(looking: Looking, house: House) -> None:
    with looking.page("/limits") as page:
        page.get_by_role("button", name="Add a limit").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Add a limit")
        dialog.get_by_label("Holds for").select_option(label="the whole workspace default")
        dialog.get_by_label("How often it begins anew").select_option("in all")
        dialog.get_by_label("Amount").fill("1000")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text(re.compile("Limited to 1.000 tokens in all"))
        row = page.locator("tbody tr").first
        expect(row.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"1.000 tokens left"))

        async def use(world: World) -> None:
            found: Any = (await call(world, "GET", "/limits"))["data"][0]
            async with world.tx() as tx:
                rows = await tx.all(store.of_workspace(tx))
            (limit,) = [store.limit_of(each) for each in rows if str(each.id) == found["id"]]
            await Leases(world.wiring.database, "elsewhere").grant(limit, span_of(limit, time.time()), 900, 0)

        house.do(use)
        expect(row.get_by_role("img")).to_have_attribute(
            "aria-label", re.compile(r"900 tokens held .* 100 tokens left")
        )
        expect(row.locator(".meter.near")).to_have_count(1)
        row.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove it").click()
        expect(page.get_by_role("status")).to_contain_text("The limit is removed.")


def test_a_missing_price_is_given_where_it_is_missing(looking: Looking, house: House) -> None:
    wanted = {"subject": "key", "key_id": house.things["default"]["key"], "measure": "money", "window": "day"}
    made = house.do(lambda world: call(world, "POST", "/limits", {**wanted, "amount": 5, "currency": "CHF"}))
    with looking.page("/prices") as page:
        expect(page.get_by_role("note")).to_contain_text("lacks a price that a limit of money needs")
        page.get_by_role("button", name="Price", exact=True).first.click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_label("Currency")).to_have_value("CHF")
        dialog.get_by_label("A million tokens read").fill("0.10")
        dialog.get_by_label("A million tokens written").fill("0.40")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("The price is added.")
        expect(page.get_by_role("note")).to_have_count(0)
    house.do(lambda world: call(world, "DELETE", f"/limits/{made['id']}"))


def test_the_palette_and_the_menu_know_these_pages(looking: Looking, house: House) -> None:
    with looking.page("/") as page:
        for word, title in (("budgets", "Limits"), ("bill", "Usage"), ("prices", "Prices")):
            page.keyboard.press("Control+k")
            page.get_by_role("combobox", name="Find a page or open an id").fill(word)
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading", level=1)).to_have_text(title)
            expect(page.locator("nav a[aria-current=page]")).to_contain_text(title)
        page.goto(looking.address(f"/dataset-versions/{house.things['default']['dataset_version']}"))
        expect(page.locator("nav a[aria-current=page]")).to_contain_text("Data sets")
