"""The door to PostgreSQL: one metadata, pools by role, and transactions that are bound to one workspace.

Boundary: nothing else opens a connection. A login without rights of its own takes one of three roles per pool
(`charkha_app`, `charkha_ingest`, and through `kit.system` `charkha_system`); row-level security does the rest.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import MetaData
from sqlalchemy.exc import DataError, DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from charkha.core.errors import Invalid, StorageFull, Unavailable

_TRUSTED_SECONDS = 1.0
Role = Literal["charkha_app", "charkha_ingest", "charkha_system"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def workspace_table(name: str, *items: sa.Column[Any] | sa.schema.SchemaItem, app: str, **options: Any) -> sa.Table:
    """A table whose rows belong to a workspace: primary key `(workspace_id, id)`, row-level security forced.

    `app` lists what the application role may do, e.g. "select, insert". A table without an `id` column brings
    its own primary key.
    """
    own_key = any(isinstance(item, sa.PrimaryKeyConstraint) for item in items)
    head: list[Any] = [sa.Column("workspace_id", sa.Uuid, nullable=False)]
    if not own_key:
        head += [sa.Column("id", sa.Uuid, nullable=False), sa.PrimaryKeyConstraint("workspace_id", "id")]
    info = {"app": app, **options.pop("info", {})}
    return sa.Table(name, metadata, *head, *items, info=info, **options)


def system_table(name: str, *items: Any, **options: Any) -> sa.Table:
    """A table of the installation itself: no tenant's role reaches it unless `info` grants it."""
    return sa.Table(name, metadata, *items, **options)


def created_at() -> sa.Column[Any]:
    """The column that every table has: when the row was written, by the database's clock."""
    return sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


class Tx:
    """One transaction in one workspace, as a service gets it. Whoever opened it commits it."""

    __slots__ = ("actor", "conn", "workspace_id")

    def __init__(self, conn: AsyncConnection, workspace_id: UUID, actor: str) -> None:
        self.conn, self.workspace_id, self.actor = conn, workspace_id, actor

    async def execute(self, statement: sa.Executable, rows: Sequence[dict[str, Any]] | None = None) -> int:
        """Run a statement (once per row of `rows`, if given) and return the number of rows it touched."""
        counted = statement.execution_options(preserve_rowcount=True)  # else an INSERT tells −1
        result = await self.conn.execute(counted, rows) if rows is not None else await self.conn.execute(counted)
        return result.rowcount

    async def all(self, statement: sa.Executable) -> Sequence[sa.Row[Any]]:
        """All rows of a query."""
        return (await self.conn.execute(statement)).all()

    async def one(self, statement: sa.Executable) -> sa.Row[Any] | None:
        """The single row of a query, or None."""
        return (await self.conn.execute(statement)).one_or_none()

    async def scalar(self, statement: sa.Executable) -> Any:
        """The first column of the first row, or None."""
        return (await self.conn.execute(statement)).scalar()

    async def insert(self, table: sa.Table, **values: Any) -> None:
        """Insert one row; the workspace is filled in."""
        await self.conn.execute(table.insert().values(workspace_id=self.workspace_id, **values))


class Database:
    """Pools of connections to one database, by role."""

    def __init__(self, url: str, *, pool_size: int = 8, name: str = "charkha") -> None:
        self.url, self._pool_size, self._name = url, pool_size, name
        self._engines: dict[Role, AsyncEngine] = {}

    def engine(self, role: Role) -> AsyncEngine:
        """The pool of `role`, made on first use."""
        if role not in self._engines:
            engine = create_async_engine(
                sqlalchemy_url(self.url),
                pool_size=self._pool_size,
                max_overflow=self._pool_size,
                connect_args={"options": f"-c role={role}", "application_name": self._name, "connect_timeout": 5},
            )
            _ask_rested_connections(engine.sync_engine)
            self._engines[role] = engine
        return self._engines[role]

    @asynccontextmanager
    async def begin(self, role: Role) -> AsyncIterator[AsyncConnection]:
        """A transaction as `role`: committed at the end of the block, rolled back by an exception."""
        try:
            async with self.engine(role).begin() as conn:
                yield conn
        except (OperationalError, InterfaceError) as error:
            raise _refusal(error) from error
        except DataError as error:  # each value is bound, so it is a value that PostgreSQL has no room for
            raise Invalid(
                "A value cannot be stored: a text with a NUL character, or a number out of range.",
                remedy="Send other values.",
            ) from error

    @asynccontextmanager
    async def workspace(self, workspace_id: UUID, actor: str) -> AsyncIterator[Tx]:
        """A transaction that sees and writes `workspace_id` alone, on behalf of `actor` (such as `key:<id>`)."""
        async with self.begin("charkha_app") as conn:
            await conn.execute(sa.select(sa.func.set_config("app.ws", str(workspace_id), True)))
            yield Tx(conn, workspace_id, actor)

    async def close(self) -> None:
        """Close every pool."""
        for engine in self._engines.values():
            await engine.dispose()
        self._engines.clear()


def _ask_rested_connections(engine: sa.Engine) -> None:
    """Ask a connection that has rested whether it lives before it is used, as SQLAlchemy's `pool_pre_ping` does always.

    One that was used a moment ago is trusted: asking costs a fifth of what a short transaction takes.
    """

    def used(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    def wanted(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        if time.monotonic() - record.info.get("used_at", 0.0) < _TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool makes another one

    sa.event.listen(engine, "checkin", used)
    sa.event.listen(engine, "checkout", wanted)


def sqlalchemy_url(url: str) -> str:
    """A libpq URL as SQLAlchemy wants it, for psycopg 3."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def _refusal(error: DBAPIError) -> Exception:
    """What a failing connection or disk means to a caller."""
    if getattr(error.orig, "sqlstate", None) == "53100":
        return StorageFull("The database's disk is full.", remedy="Free space on its disk; nothing was changed.")
    if error.connection_invalidated or getattr(error.orig, "sqlstate", None) is None or _is_shutdown(error):
        return Unavailable("The database does not answer.", remedy="Try again; `charkha doctor` says what it sees.")
    return error


def _is_shutdown(error: DBAPIError) -> bool:
    return str(getattr(error.orig, "sqlstate", "")).startswith(("57P", "08"))
