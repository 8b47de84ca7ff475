"""What an operator sees and does over HTTP: findings of the doctor, settings, backups.

They are the installation's, not a workspace's: paths, settings and backups are for `system.manage`, which owners have.
"""

from typing import Literal

import msgspec

from charkha.app.backup_folder import Backup
from charkha.app.backup_maker import BackupMaker, Started
from charkha.app.doctor import Doctor, Finding, without_paths
from charkha.app.installation import Installation
from charkha.app.settings import Settings
from charkha.app.settings_table import ABSENT, describe
from charkha.govern import audit
from charkha.govern.access import Access, Caller
from charkha.kit.http import Router

Source = Literal["default", "file", "environment", "option"]


class SettingRow(msgspec.Struct, frozen=True):
    """A setting in force, as text: null where it is not set, "set" where it is secret.

    `variable` is the environment variable that it came from, or could come from.
    """

    key: str
    value: str | None
    default: str | None
    source: Source
    variable: str
    description: str


def router(installation: Installation, access: Access) -> Router:
    """The routes of one installation."""
    api = Router(tags=["operate"])
    doctor, backups = Doctor(installation), BackupMaker(installation)
    settings = in_force(installation.settings)  # as this process was started with: the file may have changed since

    @api.get("/doctor")
    async def examine(caller: Caller = access.require("system.read")) -> list[Finding]:
        """What is wrong and what to do about it; without the machine's paths unless you may `system.manage`."""
        findings = await doctor.findings()
        if "system.manage" in caller.principal.permissions:
            return findings
        return [without_paths(finding, installation) for finding in findings]

    @api.get("/settings")
    async def list_settings(_: Caller = access.require("system.manage")) -> list[SettingRow]:
        """Every setting in force, with its default and where it came from. Secrets are never shown."""
        return settings

    @api.get("/backups")
    async def list_backups(_: Caller = access.require("system.manage")) -> list[Backup]:
        """Backups in the installation's own folder, newest first, with the progress of one that is being made."""
        return await backups.listed()

    @api.post("/backups", status_code=202)
    async def make_backup(caller: Caller = access.require("system.manage")) -> Started:
        """Begin a backup; the list tells how far it is. It lies on the machine at `file`, keys and all: it opens all."""
        with await backups.reserve() as reservation:
            async with caller.transaction() as tx:
                await audit.record(tx, "backup.made", "backup", reservation.name)
            return await backups.start(reservation)

    @api.post("/backups/{name}/verify")
    async def verify_backup(name: str, _: Caller = access.require("system.manage")) -> Backup:
        """Check every file of a backup against its checksum; `verified` and `error` tell what was found."""
        return await backups.verify(name)

    return api


def in_force(settings: Settings) -> list[SettingRow]:
    """The settings as the route tells them."""
    return [
        SettingRow(
            row.key,
            None if row.value == ABSENT else row.value,
            None if row.default == ABSENT else row.default,
            _kind(row.source),
            row.variable if _kind(row.source) != "environment" else row.source,
            row.description,
        )
        for row in describe(settings, mask="set")
    ]


def _kind(source: str) -> Source:
    match source:
        case "default" | "file" | "option":
            return source
        case _:
            return "environment"
