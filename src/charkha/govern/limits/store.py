"""Rows of limits, and what is leased of their current windows."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.govern.limits.domain import Limit
from charkha.govern.limits.tables import limit_leases, limit_windows, limits
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


class Gone(NamedTuple):
    """What is gone of a window: `leased` in all, of which gateways hold `held` that the log has not seen spent."""

    leased: int
    held: int


async def gone(tx: Tx, limit_ids: Collection[UUID]) -> Mapping[tuple[UUID, int], Gone]:
    """What is leased or spent, by limit and start of a window."""
    held = {(row.limit_id, row.start): int(row.held) for row in await tx.all(_held(tx, limit_ids))}
    windows = sa.select(limit_windows).where(*_among(limit_windows, tx, limit_ids))
    found = ((row.limit_id, row.start, row.leased) for row in await tx.all(windows))
    return {(limit, start): Gone(leased, min(leased, held.get((limit, start), 0))) for limit, start, leased in found}


def _held(tx: Tx, limit_ids: Collection[UUID]) -> sa.Select[Any]:
    columns = limit_leases.c
    rest = sa.func.sum(sa.func.greatest(columns.granted - columns.replayed, 0)).label("held")
    query = sa.select(columns.limit_id, columns.start, rest).where(*_among(limit_leases, tx, limit_ids))
    return query.group_by(columns.limit_id, columns.start)


def _among(table: sa.Table, tx: Tx, limit_ids: Collection[UUID]) -> tuple[sa.ColumnElement[bool], ...]:
    wanted = sa.literal(list(limit_ids), ARRAY(sa.Uuid))
    return table.c.workspace_id == tx.workspace_id, table.c.limit_id == sa.any_(wanted)


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
