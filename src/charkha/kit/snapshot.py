"""The immutable picture of keys and routes that the hot path reads instead of the database.

Every change that it shows bumps one version row in its own transaction, which orders them, and notifies. A process
reloads on the notification and, should one be lost, on a check each second. It reports the version that it serves,
so that "rolled back everywhere" can be proven.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.core.errors import CharkhaError, Unavailable
from charkha.kit import telemetry
from charkha.kit.db import Database, Tx, system_table
from charkha.kit.system import system

CHANNEL = "charkha_snapshot"
_SEEN_WITHIN = "5 seconds"

snapshot_version = system_table(
    "snapshot_version",
    sa.Column("only", sa.Boolean, sa.CheckConstraint("only", name="one_row"), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)
gateways = system_table(
    "gateways",
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("engines", JSONB, nullable=False, server_default="{}"),
)

Loader = Callable[[AsyncConnection], Awaitable[Any]]
log = telemetry.logger(__name__)


async def bump(tx: Tx) -> int:
    """Say, within the transaction of the change, that the picture has changed; returns the new version."""
    return int(await tx.scalar(sa.select(sa.func.charkha_bump_snapshot())))


class Snapshots:
    """Holds the current picture: one value per registered loader, all read in one transaction."""

    def __init__(self, database: Database, *, max_age: float = 3600.0, reports: bool = True) -> None:
        """`max_age`: seconds after which a picture that could not be checked is refused. `reports`: serves traffic."""
        self.id = uuid4()
        self.version = -1
        self._database, self._max_age, self._reports = database, max_age, reports
        self._loaders: dict[str, Loader] = {}
        self._values: dict[str, Any] = {}
        self._checked = 0.0
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._engines: Callable[[], Mapping[str, Any]] = dict

    def tell(self, engines: Callable[[], Mapping[str, Any]]) -> None:
        """Report with the version what this process knows of its engines, by their names: JSON."""
        self._engines = engines

    def register(self, name: str, loader: Loader) -> None:
        """Add a part of the picture: `loader` reads it on a connection that crosses workspaces."""
        self._loaders[name] = loader

    def get(self, name: str) -> Any:
        """A part of the picture. Raises Unavailable when the database has been gone for longer than the bound."""
        if time.monotonic() - self._checked > self._max_age:
            raise Unavailable("Keys and routes could not be refreshed for too long.", remedy="Start PostgreSQL again.")
        return self._values[name]

    async def start(self) -> None:
        """Load the picture once, then keep it fresh in the background."""
        await self.refresh()
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._listen())]

    async def stop(self) -> None:
        """Stop refreshing and sign off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(CharkhaError):
            async with system(self._database) as conn:
                await conn.execute(gateways.delete().where(gateways.c.id == self.id))

    async def refresh(self) -> None:
        """Read the version; if it has moved, read everything; report what this process serves."""
        async with system(self._database) as conn:
            await conn.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            version = int((await conn.execute(sa.select(snapshot_version.c.version))).scalar_one())
            if version != self.version:
                self._values = {name: await load(conn) for name, load in self._loaders.items()}
        self._checked = time.monotonic()
        self.version = version
        if self._reports:
            async with system(self._database) as conn:
                await conn.execute(_report(self.id, version, self._engines()))

    async def _follow(self) -> None:
        """Refresh when told, and at least once a second."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):  # Python 3.11's wait_for can lose a cancellation
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.refresh()
            except CharkhaError as error:
                log.warning("snapshot.stale", reason=str(error), version=self.version)

    async def _listen(self) -> None:
        """Wake the follower on each notification; reconnect for ever."""
        while True:
            try:
                async with await self._connected() as conn:
                    await conn.execute(f"LISTEN {CHANNEL}")
                    async for _ in conn.notifies():
                        self._changed.set()
            except psycopg.Error as error:
                log.warning("snapshot.listen_lost", reason=str(error))
            await asyncio.sleep(0.5)

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        """A connection of its own to listen on.

        A connection that is cancelled while it is being made would stay half open, and the server would hold its
        database for the minute that it gives to authentication: so it is made whole first, and closed then.
        """
        options = "-c role=charkha_system"
        opening = asyncio.ensure_future(
            psycopg.AsyncConnection.connect(self._database.url, autocommit=True, options=options)
        )
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with contextlib.suppress(psycopg.Error):
                await (await opening).close()
            raise


def _report(instance: UUID, version: int, engines: Mapping[str, Any]) -> sa.Executable:
    moving = {"version": version, "seen_at": sa.func.now(), "engines": engines}
    statement = insert(gateways).values(id=instance, host=socket.gethostname(), pid=os.getpid(), **moving)
    return statement.on_conflict_do_update(index_elements=[gateways.c.id], set_=moving)


async def serving(database: Database, *, engines: bool = False) -> list[dict[str, Any]]:
    """The processes seen within the last five seconds and the version that each serves; with what they know of `engines`."""
    columns = [each for each in gateways.c if engines or each.name != "engines"]
    query = sa.select(*columns).where(gateways.c.seen_at > sa.func.now() - sa.text(f"interval '{_SEEN_WITHIN}'"))
    async with system(database) as conn:
        return [dict(row._mapping) for row in await conn.execute(query.order_by(gateways.c.id))]


async def newest(database: Database) -> int:
    """The version of the newest picture that there is."""
    async with system(database) as conn:
        return int((await conn.execute(sa.select(snapshot_version.c.version))).scalar_one())


async def wait_until_served(database: Database, version: int, *, timeout: float = 5.0) -> list[dict[str, Any]]:
    """Wait until every live gateway serves `version` or a later one; returns what each reports."""
    deadline = time.monotonic() + timeout
    while True:
        seen = await serving(database)
        if all(gateway["version"] >= version for gateway in seen):
            return seen
        if time.monotonic() > deadline:
            behind = [gateway["pid"] for gateway in seen if gateway["version"] < version]
            raise Unavailable(
                f"The change is stored, but gateway processes {behind} do not serve it yet.",
                remedy="See `charkha status`; a stuck process can be restarted.",
            )
        await asyncio.sleep(0.02)
