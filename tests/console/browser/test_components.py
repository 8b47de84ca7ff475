"""How components look: every one is drawn, alike in light and in dark, and no text is cut off or lies upon another."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console.browser.looking import WIDTHS, Looking

SHEET = "/console/_components"
SEEN = (Path(__file__).parent / "components.js").read_text()


def _seen(page: Page) -> dict[str, Any]:
    page.wait_for_timeout(200)  # the curves take the width that they have
    found: dict[str, Any] = page.evaluate(SEEN)
    return found


def _light(colour: str) -> int:
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3])


@pytest.mark.parametrize("width", WIDTHS)
def test_every_component_is_drawn_alike_in_both_appearances(looking: Looking, width: int) -> None:
    with looking.page(SHEET, width=width) as page:
        seen = _seen(page)
        light, dark = seen["sheets"]["light"]["boxes"], seen["sheets"]["dark"]["boxes"]
        assert len(light) >= 10
        assert all(wide > 200 and high > 40 for _, wide, high in light)
        for mine, other in zip(light, dark, strict=True):
            assert mine[0] == other[0]
            assert abs(mine[1] - other[1]) <= 1
            assert abs(mine[2] - other[2]) <= 24, mine  # the longer word may need a line more
        assert (seen["cut"], seen["upon"]) == ([], [])


def test_light_is_light_and_dark_is_dark_whatever_the_page_is(looking: Looking) -> None:
    for scheme in ("light", "dark"):
        with looking.page(SHEET, scheme=scheme) as page:
            light, dark = (_seen(page)["sheets"][each] for each in ("light", "dark"))
            assert _light(light["paper"]) > 700 > 100 > _light(light["ink"])
            assert _light(dark["paper"]) < 100 < 600 < _light(dark["ink"])


def test_who_wants_no_motion_has_none(looking: Looking) -> None:
    with looking.page(SHEET) as page:
        assert _seen(page)["moving"] == []
        page.emulate_media(reduced_motion="no-preference")
        assert _seen(page)["moving"]


def test_what_is_cut_off_or_lies_upon_another_would_be_found(looking: Looking) -> None:
    with looking.page(SHEET) as page:
        page.evaluate("document.querySelector('.sheet .status').style.cssText = 'width: 20px; overflow: hidden'")
        page.evaluate("document.querySelectorAll('.sheet button')[1].style.marginLeft = '-60px'")
        seen = _seen(page)
        assert len(seen["cut"]) == 1
        assert seen["upon"]


def test_curves_have_the_colours_of_their_appearance_and_change_with_it(looking: Looking) -> None:
    drawn = "(of) => document.querySelector(`${of} .plot canvas`).toDataURL()"
    with looking.page(SHEET) as page:
        page.wait_for_timeout(200)
        light = page.evaluate(drawn, ".sheet.light")
        assert light != page.evaluate(drawn, ".sheet.dark")
        page.goto(looking.address(f"/runs/{looking.house.things['default']['run']}"))
        page.locator(".plot canvas").first.wait_for()
        before = page.evaluate(drawn, "main")
        page.get_by_label("Appearance").first.select_option("Dark")
        expect(page.locator(".plot canvas")).not_to_have_count(0)
        assert page.evaluate(drawn, "main") != before
        page.get_by_label("Appearance").first.select_option("Light")
        assert page.evaluate(drawn, "main") == before
