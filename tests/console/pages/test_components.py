"""The components sheet shows everything that pages are made of, and hostile text does nothing on it."""

import inspect
import re

import pytest

from charkha.console import charts
from charkha.console.pages.components import HOSTILE, sample
from charkha.console.site import _TEMPLATES
from tests.console.world import World, heading, parse

pytestmark = pytest.mark.anyio
SHEET = (_TEMPLATES / "pages" / "components.html").read_text()


def test_every_component_is_on_the_sheet() -> None:
    macros = re.findall(r"{% macro (\w+)\(", (_TEMPLATES / "parts.html").read_text())
    assert len(macros) > 12
    missing = [name for name in macros if not re.search(rf"(?<![\w.]){name}\(", SHEET)]
    assert missing == [], "show them in templates/pages/components.html"


def test_every_picture_is_on_the_sheet() -> None:
    drawn = [name for name, made in inspect.getmembers(charts, inspect.isfunction) if not name.startswith("_")]
    own = [name for name in drawn if getattr(charts, name).__module__ == charts.__name__]
    assert [name for name in own if f"charts.{name}(" not in SHEET] == []


async def test_the_sheet_is_shown_to_whoever_is_signed_in(world: World) -> None:
    for who in ("viewer", "stranger"):
        page = await (await world.browser(who)).page("/console/_components")
        assert heading(page) == "Components"
        sections = {node.attrs["aria-label"]: node for node in parse(page).find_all("section", class_="sheet")}
        assert {name: len(node.find_all(data_component="")) for name, node in sections.items()} == {
            "Light": 0,
            "Dark": 0,
        }
        light, dark = (
            [each.attrs["data-component"] for each in node.walk() if "data-component" in each.attrs]
            for node in sections.values()
        )
        assert light == dark
        assert len(light) >= 10
    assert (await world.http().get("/console/_components")).status_code == 303


async def test_ids_are_given_once(world: World) -> None:
    page = parse(await (await world.browser()).page("/console/_components"))
    ids = [node.attrs["id"] for node in page.walk() if "id" in node.attrs]
    assert [each for each in ids if ids.count(each) > 1] == []


async def test_hostile_text_is_only_text(world: World) -> None:
    html = await (await world.browser()).page("/console/_components")
    page = parse(html)
    assert page.find_all("img") == []
    assert not [
        node for node in page.find_all("script") if not node.attrs.get("src", "").startswith("/console/static/")
    ]
    assert "49" not in page.find(data_component="foreign").text()
    for letter in "\u202e\u2066\0\x1b\U000e0041":
        assert letter not in html
    assert HOSTILE[0] in page.find(data_component="foreign").text()
    assert sample()["hostile"] is HOSTILE
