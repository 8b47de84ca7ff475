"""Engines as people see and change them: their keys are typed, and never seen."""

import pytest

from tests.console.world import Browser, World, forms, parse, rows, text_of

pytestmark = pytest.mark.anyio
KEY = "sk-of-the-provider-7Qx4"


async def add(browser: Browser, **typed: str) -> str:
    """What the console says to the form of a new engine."""
    form = {"name": "far", "plugin": "openai", "url": "https://far.example/v1", "models": "small = gpt-5-mini\nbig\n"}
    return await browser.said("/engines", {**form, "key": KEY, **typed})


async def test_an_engine_is_added_changed_and_removed_with_forms(world: World) -> None:
    browser = await world.browser("operator")
    assert browser.href("/engines") in forms(await browser.page("/engines"))
    assert "far is added." in await add(browser)
    html = await browser.page("/engines")
    found = {row["Engine"]: row for row in rows(html)}
    assert list(found) == ["local settings", "far"]
    assert found["far"]["Address"] == "https://far.example/v1"
    assert found["far"]["Models"] == "big small"
    assert found["far"]["Key"].startswith("set, ends …7Qx4")
    assert KEY not in html
    assert parse(html).find("textarea", id="change-far-models").text() == "big small = gpt-5-mini"
    same = {"url": "https://far.example/v1", "models": "big"}
    assert await browser.said("/engines/far", same) == "far is changed. ✕"
    assert "its key is erased" in await browser.said("/engines/far", {**same, "url": "https://other.example/v1"})
    assert {row["Engine"]: row["Key"] for row in rows(await browser.page("/engines"))}["far"] == "none"
    assert "It ends with 7Qx4." in await browser.said("/engines/far/key", {"key": KEY})
    assert "far is removed." in await browser.said("/engines/far/remove")
    assert [row["Engine"] for row in rows(await browser.page("/engines"))] == ["local settings"]


async def test_an_engine_is_checked_with_a_button(world: World) -> None:
    browser = await world.browser("operator")
    assert "local is ready." in await browser.said("/engines/local/check")
    assert "There is no engine" in await browser.said("/engines/nowhere/check")


async def test_what_is_wrong_is_said_and_the_key_is_not(world: World) -> None:
    browser = await world.browser("operator")
    assert "in the clear" in await add(browser, url="http://far.example/v1")
    assert "private address" in await add(browser, url="https://10.0.0.1/v1")
    said = await add(browser, key=f"{KEY} twice")
    assert "none of them a space" in said
    assert KEY not in said


async def test_who_may_not_change_engines_sees_them_without_forms(world: World) -> None:
    await add(await world.browser("operator"))
    viewer = await world.browser("viewer")
    html = await viewer.page("/engines")
    assert [row["Engine"] for row in rows(html)] == ["local settings", "far"]
    assert viewer.href("/engines") not in forms(html)
    assert KEY not in text_of(html)
    assert "may not do 'system.manage'" in await viewer.said("/engines", {"name": "x"})
    for form in ("csv", "json"):
        exported = (await viewer.get("/engines", export=form)).text
        assert "far.example" in exported
        assert KEY not in exported
