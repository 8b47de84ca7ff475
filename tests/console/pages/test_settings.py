"""Settings & health: findings, what runs, backups, settings, and who is shown them."""

import asyncio
from typing import Any

import pytest

from charkha.app.backup_folder import FOLDER
from tests.console.world import Browser, World, buttons, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def test_findings_come_after_the_page_or_with_it_where_asked(world: World) -> None:
    browser = await world.browser("operator")
    html = await browser.page("/settings")
    assert heading(html) == "Settings & health"
    waiting = parse(html).find("div", id="doctor")
    assert "The doctor looks." in waiting.text()
    shown = parse((await browser.http.get(waiting.attrs["hx-get"])).text).find("div", id="doctor")
    findings = [each.text() for each in shown.find_all("li")]
    assert "ok database answers, and no workspace can read another's rows" in findings
    assert "warning processes Nothing runs here. Start it: charkha up" in findings
    ranks = [("wrong", "warning", "ok").index(each.split()[0]) for each in findings]
    assert ranks == sorted(ranks)
    assert "need a look." in shown.text()


async def test_what_runs_now_is_told_to_everybody(world: World) -> None:
    page = text_of(await (await world.browser("viewer")).page("/settings"))
    assert "local ready" in page
    assert "newest" in page
    assert "Waiting" in page


async def test_who_does_not_own_it_sees_no_paths_settings_or_backups(world: World) -> None:
    for who in ("viewer", "stranger"):
        browser = await world.browser(who)
        html = await browser.page("/settings", doctor="now")
        assert "shown to owners" in text_of(html)
        assert str(world.home) not in html
        assert "max_body_bytes" not in html
        assert "Make a backup" not in buttons(html)
        assert {"API reference", "Metrics"} <= set(links(html))
        for path in ("/settings/backups", "/settings/backups/x.zip/verify"):
            assert (await browser.post(path, scripted=False)).status_code == 403


async def test_every_setting_is_told_with_where_it_came_from(world: World) -> None:
    browser = await world.browser("operator")
    html = await browser.page("/settings")
    found = {row["Setting"]: row for row in rows(html, table=1) if "Setting" in row}
    told = (await world.rest().get("/settings")).json()
    assert sorted(found) == sorted(each["key"] for each in told)
    assert (found["home"]["Source"], found["host"]["Source"]) == ("option", "default")
    assert found["home"]["Value"].startswith(str(world.home))
    assert "largest request body" in found["limits.max_body_bytes"]["What it is for"]
    assert "CHARKHA_LIMITS__MAX_BODY_BYTES" in found["limits.max_body_bytes"]["What it is for"]
    changed = {row["Setting"] for row in rows(await browser.page("/settings", changed="yes"), table=1)}
    assert changed == {each["key"] for each in told if each["source"] != "default"}
    assert 0 < len(changed) < len(found)


async def test_a_browser_chooses_its_zone_and_appearance(world: World) -> None:
    document = parse(await (await world.browser("viewer")).page("/settings"))
    zones = [node for node in document.find_all("select") if "data-zone-choice" in node.attrs]
    assert [option.attrs["value"] for option in zones[0].find_all("option")] == ["", "UTC"]
    assert len([node for node in document.find_all("select") if "data-theme-choice" in node.attrs]) == 2


async def made(world: World, browser: Browser) -> dict[str, Any]:
    """A backup that was ordered by form and is done."""
    assert "A backup is being made." in await browser.said("/settings/backups")
    async with asyncio.timeout(60):
        while True:
            (found,) = (await world.rest().get("/backups")).json()
            if found["status"] != "running":
                return dict(found)
            told = text_of(await browser.page("/settings"))
            (after,) = (await world.rest().get("/backups")).json()
            assert "being made" in told or after["status"] != "running"
            await asyncio.sleep(0.1)


async def test_a_backup_is_made_checked_and_found_damaged(world: World) -> None:
    browser = await world.browser("operator")
    assert "No backups yet" in text_of(await browser.page("/settings"))
    backup = await made(world, browser)
    assert (backup["status"], backup["error"]) == ("done", None)
    html = await browser.page("/settings")
    (row,) = [row for row in rows(html, table=1) if "Backup" in row]
    assert row["Backup"] == f"{backup['name']} {backup['file']}"
    assert row["State"] == "made not checked yet"
    path = f"/settings/backups/{backup['name']}/verify"
    assert browser.href(path) in forms(html)
    assert await browser.said(path) == f"{backup['name']} is whole.Every file in it is as it was written. ✕"
    assert "whole" in rows(await browser.page("/settings"), table=1)[0]["State"]
    file = world.home / FOLDER / backup["name"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    answer = await browser.post(path)
    assert parse(answer.text).find("div", class_="said").attrs["class"] == "said wrong"
    assert f"{backup['name']} is damaged" in text_of(answer.text)
    assert rows(await browser.page("/settings"), table=1)[0]["State"].startswith("damaged")
    assert "There is no backup 'other.zip'." in await browser.said("/settings/backups/other.zip/verify")
