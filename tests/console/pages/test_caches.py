"""The page of caches: what they are set to, what they did and saved, and its forms."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.console.world import World, forms, rows, text_of

pytestmark = pytest.mark.anyio


async def rest(world: World, path: str) -> Any:
    answer = await world.rest().get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_cache_is_set_changed_cleared_and_ended_with_forms(world: World) -> None:
    browser, endpoint = await world.browser(), world.things["endpoint"]
    path = f"/endpoints/{endpoint}/cache"
    for page in ("/caches", "/endpoints/support"):
        fields = forms(await browser.page(page))[browser.href(path)]
        assert (fields["seconds"], fields["max_temperature"], fields["threshold"]) == ("3600", "0.3", "0.95")
    typed = {"seconds": "7200", "max_temperature": "1", "tools": "on", "engine": "", "model": "", "threshold": "0.95"}
    assert "given again from now on" in await browser.said(path, typed)
    policy = {"seconds": 7200, "max_temperature": 1, "tools": True, "semantic": None}
    assert (await rest(world, "/endpoints/support"))["cache"] == policy
    row = next(row for row in rows(await browser.page("/caches")) if row["Endpoint"] == "support")
    assert row["Cache"].startswith("on 2 hours, up to temperature 1")
    assert "with tools" in row["Cache"]
    assert "given again for 2 hours" in text_of(await browser.page("/endpoints/support"))
    alike = {**typed, "engine": "local", "model": "tiny", "threshold": "0.9"}
    await browser.said(path, alike)
    semantic = {"engine": "local", "model": "tiny", "threshold": 0.9}
    assert (await rest(world, "/endpoints/support"))["cache"]["semantic"] == semantic
    assert "no engine" in await browser.said(path, {**alike, "engine": "elsewhere"})
    assert "no number" in await browser.said(path, {**typed, "seconds": "long"})
    for form in ({}, {"endpoint": endpoint}):
        assert "forgotten.At 1 of 1 gateways." in await browser.said("/caches/clear", form)
    assert "asked each time" in await browser.said(path, {"cache": "off"})
    assert (await rest(world, "/endpoints/support"))["cache"] is None


async def test_hits_and_what_they_saved_are_drawn(world: World) -> None:
    browser = await world.browser("viewer")
    empty = await browser.page("/caches")
    assert "Hit rate" in text_of(empty)
    assert list(forms(empty)) == ["/console/sign-out"], "a viewer changes nothing"
    async with world.wiring.database.begin("charkha_system") as conn:
        day = datetime.now(UTC).date()
        values = (
            world.seeded.workspaces["default"],
            day,
            "key:a",
            "support",
            "local",
            "EUR",
            4,
            1,
            1,
            1,
            3,
            1,
            2_500_000,
        )
        await conn.exec_driver_sql(
            "INSERT INTO usage_days VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", values
        )
    html = await browser.page("/caches")
    page = text_of(html)
    assert "75.0%" in page.replace(" ", "").replace("\N{NARROW NO-BREAK SPACE}", "").replace("\xa0", "")
    assert "2.5 EUR" in page
    assert "Saved: 2.5 EUR, at most 2.5 EUR in one day" in html
    assert "Answers given again: 3 of 4 requests that looked" in html
    row = next(row for row in rows(html) if row["Endpoint"] == "support")
    assert (row["Hits"], row["Misses"], row["Saved"]) == ("3", "1", "2.5 EUR")
    stranger = await world.browser("stranger")
    assert "2.5 EUR" not in text_of(await stranger.page("/caches"))
