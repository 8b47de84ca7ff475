"""Rows of limits, and what is leased of their current windows."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.govern.limits.domain import Limit
from charkha.govern.limits.tables import limit_windows, limits
from charkha.kit.db import Tx

LIMITS = "limits"

LimitBook = Mapping[UUID, tuple[Limit, ...]]
"""The limits of each key, workspace and organisation, by its id."""


async def load(conn: AsyncConnection) -> LimitBook:
    """Read every limit; for the snapshot."""
    book: dict[UUID, tuple[Limit, ...]] = {}
    for row in await conn.execute(sa.select(limits).order_by(limits.c.id)):
        book[row.subject_id] = (*book.get(row.subject_id, ()), limit_of(row))
    return book


def of_workspace(tx: Tx) -> sa.Select[Any]:
    """The limits that are kept in the transaction's workspace."""
    return sa.select(limits).where(limits.c.workspace_id == tx.workspace_id)


async def leased(tx: Tx, limit_ids: Collection[UUID]) -> Mapping[tuple[UUID, int], int]:
    """Units that are leased or spent, by limit and start of a window."""
    among = limit_windows.c.limit_id == sa.any_(sa.literal(list(limit_ids), ARRAY(sa.Uuid)))
    rows = await tx.all(sa.select(limit_windows).where(limit_windows.c.workspace_id == tx.workspace_id, among))
    return {(row.limit_id, row.start): row.leased for row in rows}


def limit_of(row: sa.Row[Any]) -> Limit:
    """The limit that a row is."""
    return Limit(
        row.id,
        row.workspace_id,
        row.subject,
        row.subject_id,
        row.measure,
        row.window,
        row.amount,
        row.currency or None,
        row.created_at,
    )
