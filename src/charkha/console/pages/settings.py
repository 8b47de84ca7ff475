"""Settings & health: what the doctor finds, what runs now, backups, every setting in force, and this browser's choices.

The doctor takes seconds, so its findings come after the page, or with it where that is asked for.
"""

import asyncio
from itertools import groupby
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console.live import Fragments
from charkha.console.names import found_or_none, listed, part
from charkha.console.site import Site, Visitor

_PERMISSION, _OWN = "system.read", "system.manage"
_WORST = {"wrong": 0, "warning": 1, "ok": 2}
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The page and what its forms ask for."""
    page = site.router()
    _reading(page, site)
    _backups(page, site)
    return page


def _reading(page: APIRouter, site: Site) -> None:
    @page.get("/w/{workspace}/settings")
    async def overview(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        asked = "doctor" in visitor.query
        moving, settings, findings = await asyncio.gather(
            _moving(visitor), listed(visitor, _OWN, "/settings"), _findings(visitor) if asked else _nothing()
        )
        only_changed = "changed" in visitor.query
        values = {"findings": findings, "groups": _groups(settings, only_changed), "only_changed": only_changed}
        changed = sum(each["source"] != "default" for each in settings)
        return site.render(visitor, "pages/settings.html", changed=changed, total=len(settings), **values, **moving)

    @page.get("/w/{workspace}/live/settings")
    async def live(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        async def make() -> Fragments:
            moving = await _moving(visitor)
            fragments = {"now": site.html(visitor, "pages/settings_now.html", **moving)}
            if visitor.may(_OWN):
                fragments["backup-list"] = site.html(visitor, "pages/settings_backups.html", **moving)
            return fragments

        return site.stream(visitor, make)


def _backups(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/settings/backups")
    async def back_up(visitor: Visitor = site.visitor(_OWN)) -> Response:
        begun = await visitor.api.send("POST", "/backups")
        return site.said(visitor, "A backup is being made.", detail=f"It will lie on the machine at {begun['file']}.")

    @page.post("/w/{workspace}/settings/backups/{backup}/verify")
    async def verify(backup: str, visitor: Visitor = site.visitor(_OWN)) -> Response:
        checked = await visitor.api.send("POST", f"/backups/{part(backup)}/verify")
        if checked["verified"]:
            return site.said(visitor, f"{checked['name']} is whole.", detail="Every file in it is as it was written.")
        told = f"{checked['name']} is damaged: {checked['error']}"
        return site.said(visitor, told, detail=checked["remedy"] or "", mark="wrong")


async def _moving(visitor: Visitor) -> Facts:
    """What moves: engines, gateways, jobs, and backups that are being made."""
    status, backups = await asyncio.gather(visitor.api.get("/status"), found_or_none(visitor, _OWN, "/backups"))
    return {"status_now": status, "backups": backups or []}


async def _findings(visitor: Visitor) -> list[Facts]:
    """What the doctor finds, the worst first."""
    found: list[Facts] = await visitor.api.get("/doctor")
    return sorted(found, key=lambda each: _WORST[each["mark"]])


async def _nothing() -> None:
    return None


def _groups(settings: list[Facts], only_changed: bool) -> list[tuple[str, list[Facts]]]:
    """Settings by the section that they stand in, `limits` of `limits.max_body_bytes`; those without one first."""
    shown = [each for each in settings if not only_changed or each["source"] != "default"]
    found = {name: list(group) for name, group in groupby(sorted(shown, key=_section), key=_section)}
    return list(found.items())


def _section(setting: Facts) -> str:
    before, dot, _ = str(setting["key"]).partition(".")
    return before if dot else ""
