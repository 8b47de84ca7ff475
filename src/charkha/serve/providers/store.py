"""Rows of engines."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.kit.db import Tx
from charkha.serve.providers.domain import Provider
from charkha.serve.providers.tables import engines

ENGINES = "engines"
Kept = tuple[Provider, ...]


async def load(conn: AsyncConnection) -> Kept:
    """Every engine that is kept, the oldest first; for the snapshot."""
    return tuple([provider_of(row) for row in await conn.execute(sa.select(engines).order_by(engines.c.id))])


async def find(tx: Tx, name: str, *, lock: bool = False) -> Provider | None:
    """An engine by name; with `lock`, nobody else changes it until the transaction ends."""
    query = sa.select(engines).where(engines.c.name == name)
    row = await tx.one(query.with_for_update() if lock else query)
    return provider_of(row) if row else None


async def count(tx: Tx) -> int:
    """How many there are."""
    return int(await tx.scalar(sa.select(sa.func.count()).select_from(engines)))


async def add(tx: Tx, provider: Provider) -> None:
    """Insert an engine. Raises sqlalchemy's IntegrityError where the name is taken."""
    await tx.execute(engines.insert().values({name: getattr(provider, name) for name in Provider.__struct_fields__}))


async def change(tx: Tx, name: str, **values: Any) -> bool:
    """Update columns of an engine; whether there was one."""
    return await tx.execute(engines.update().where(engines.c.name == name).values(**values)) == 1


async def remove(tx: Tx, name: str) -> bool:
    """Delete an engine, and its key with it; whether there was one."""
    return await tx.execute(engines.delete().where(engines.c.name == name)) == 1


def provider_of(row: sa.Row[Any]) -> Provider:
    """A row as a value."""
    return Provider(*(getattr(row, name) for name in Provider.__struct_fields__))
