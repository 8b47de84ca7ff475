"""What must cross workspaces, and nothing else: key look-up, snapshots, the shipping of logs, schedules, retention.

Boundary: the only module that takes the role `charkha_system`. Who may import it is listed in `.importlinter`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.kit.db import Database


@asynccontextmanager
async def system(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction that is bound to no workspace."""
    async with database.begin("charkha_system") as conn:
        yield conn
