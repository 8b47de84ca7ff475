"""The months of the inference log: which there are, and making those to come."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.kit.db import Database
from charkha.kit.system import system
from charkha.observe.tables import inference_bodies, inferences

MONTHS_AHEAD = 3
_LOCK = 8_420_002
_NAMES = sa.text(
    "SELECT right(c.relname, 6) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent IN ('inferences'::regclass, 'inference_bodies'::regclass)"
    " GROUP BY 1 HAVING count(*) = 2"
)


async def ensure_partitions(database: Database) -> int:
    """Make the partitions from last month to three months ahead where they are absent; how many were. Run it daily."""
    async with system(database) as conn:
        await conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))  # two at once would make the same one
        made = 0
        for table in (inferences, inference_bodies):
            ensure = sa.select(sa.func.charkha_ensure_partitions(table.name, MONTHS_AHEAD))
            made += (await conn.execute(ensure)).scalar_one()
        return made


async def months(conn: AsyncConnection) -> frozenset[str]:
    """The months (`YYYYMM`) that have a partition in both tables."""
    return frozenset(row[0] for row in await conn.execute(_NAMES))
