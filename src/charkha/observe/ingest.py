"""Writing to the inference log: COPY into a temporary table, then insert what is not there yet.

The ingest role may only insert: COPY into a table under row-level security is refused, and `ON CONFLICT` with a target
would ask to read. The offsets of the spool are written in the same transaction as the rows, which makes it exactly once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable

from charkha.observe.rows import Rows
from charkha.observe.tables import inference_bodies, inferences, spool_offsets


def _staging(table: sa.Table) -> sa.Table:
    """A temporary table of the same columns, empty again at each commit."""
    columns = [sa.Column(column.name, column.type) for column in table.c]
    return sa.Table(
        f"shipping_{table.name}",
        sa.MetaData(),
        *columns,
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DELETE ROWS",
    )


_STAGING = {table: _staging(table) for table in (inferences, inference_bodies)}


async def write(conn: AsyncConnection, batch: Sequence[Rows]) -> int:
    """Insert the rows that are not in the log yet; how many inferences were not."""
    new = await _insert(conn, inferences, [each.inference for each in batch])
    await _insert(conn, inference_bodies, [each.body for each in batch if each.body])
    return new


async def _insert(conn: AsyncConnection, table: sa.Table, values: Sequence[Mapping[str, Any]]) -> int:
    if not values:
        return 0
    staging, names = _STAGING[table], list(table.c.keys())
    await conn.execute(CreateTable(staging, if_not_exists=True))
    await _copy(conn, staging.name, names, (list(map(row.__getitem__, names)) for row in values))
    statement = insert(table).from_select(names, sa.select(staging)).on_conflict_do_nothing()
    result = await conn.execute(statement.execution_options(preserve_rowcount=True))
    return result.rowcount


async def _copy(conn: AsyncConnection, table: str, names: Sequence[str], values: Iterable[Sequence[Any]]) -> None:
    connection = (await conn.get_raw_connection()).driver_connection
    assert connection is not None
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in values:
            await copy.write_row(row)


async def offsets(conn: AsyncConnection, keys: Sequence[str]) -> dict[str, int]:
    """The stored offsets of segments; one that is absent was never shipped from."""
    query = sa.select(spool_offsets.c.segment, spool_offsets.c.position).where(spool_offsets.c.segment.in_(keys))
    return {row.segment: row.position for row in await conn.execute(query)}


async def save_offsets(conn: AsyncConnection, positions: Mapping[str, int], finished: Sequence[str]) -> None:
    """Store how far segments are done with, and forget those that are about to be removed."""
    if positions:
        rows = [{"segment": key, "position": position} for key, position in positions.items()]
        statement = insert(spool_offsets)
        changed = {"position": statement.excluded.position, "updated_at": sa.func.now()}
        await conn.execute(statement.on_conflict_do_update(index_elements=["segment"], set_=changed), rows)
    if finished:
        await conn.execute(spool_offsets.delete().where(spool_offsets.c.segment.in_(finished)))


async def bury(conn: AsyncConnection, instance: str) -> int:
    """Give back what a dead gateway leased and did not use, now that all it did is in the log; how many leases."""
    return int((await conn.execute(sa.select(sa.func.charkha_bury_holder(instance)))).scalar_one())
