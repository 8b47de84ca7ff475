"""What must be true before anything is served: the newest schema, its self-test, and on the first run the first keys."""

import asyncio
import os
from pathlib import Path

from charkha.app.installation import Installation
from charkha.app.up import FIRST_KEY
from charkha.govern.directory import Directory
from charkha.govern.keys import KeyService
from charkha.kit.db import Database
from charkha.kit.postgres.migrate import upgrade
from charkha.kit.postgres.selftest import verify


def prepare(installation: Installation, *, first_run: bool) -> str:
    """Migrate, prove the isolation of workspaces, make the first keys if there are none; returns the revision."""
    revision = upgrade(installation.migration_url)
    asyncio.run(_prepare(installation, first_run))
    return revision


async def _prepare(installation: Installation, first_run: bool) -> None:
    database = Database(installation.database_url, pool_size=2)
    try:
        await verify(database)
        directory = Directory(database, KeyService(installation.secrets))
        await directory.prepare()
        made = await directory.first_run() if first_run else None
        if made:
            _write_private(installation.operator_key_file, made.operator.key)
            _write_private(installation.home / FIRST_KEY, made.application.key)
    finally:
        await database.close()


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
