"""Keyset paging: lists are ordered by id, newest first, and the next page starts after the last id seen.

A list is answered in milliseconds however long it is: from an index, or from as much of it as one page may read.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa

from charkha.kit.db import Tx

T = TypeVar("T")
LIMIT = 500
WINDOW = 50_000
"""Rows that a page reads at most where no index serves its conditions: some 20 ms of a warm table."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. `next` is the `after` of the following page, or None at the end: `data` may be short before it."""

    data: list[T]
    next: UUID | None


async def page(
    tx: Tx,
    statement: sa.Select[Any],
    table: sa.FromClause,
    make: Callable[[sa.Row[Any]], T],
    *,
    after: UUID | None = None,
    limit: int = 50,
) -> Page[T]:
    """The page of `statement` after id `after`, at most `limit` (≤ 500) rows, each through `make`."""
    limit = max(1, min(limit, LIMIT))
    if after is not None:
        statement = statement.where(table.c.id < after)
    rows: Sequence[sa.Row[Any]] = await tx.all(statement.order_by(table.c.id.desc()).limit(limit + 1))
    more = len(rows) > limit
    return Page([make(row) for row in rows[:limit]], rows[limit - 1].id if more else None)


async def sifted(
    tx: Tx,
    statement: sa.Select[Any],
    table: sa.Table,
    make: Callable[[sa.Row[Any]], T],
    *,
    conditions: Sequence[sa.ColumnElement[bool]],
    after: UUID | None = None,
    limit: int = 50,
) -> Page[T]:
    """As `page`, of those rows of `statement` that fulfil `conditions` too; `statement` alone is what an index serves.

    At most `WINDOW` rows of `statement` are read. Where fewer than `limit` of them fulfil the conditions the page is
    short, or empty, and `next` goes on behind the last row that was read: who follows `next` to its end misses nothing.
    """
    if not conditions:
        return await page(tx, statement, table, make, after=after, limit=limit)
    last = await last_of(tx, statement, table, after)
    if last is not None:
        statement = statement.where(table.c.id >= last)
    found = await page(tx, statement.where(*conditions), table, make, after=after, limit=limit)
    return found if found.next is not None else Page(found.data, last)


async def last_of(tx: Tx, statement: sa.Select[Any], table: sa.Table, after: UUID | None) -> UUID | None:
    """The id of the last of the `WINDOW` rows of `statement` that come after id `after`; None where there are fewer."""
    if after is not None:
        statement = statement.where(table.c.id < after)
    ids = statement.with_only_columns(table.c.id).order_by(table.c.id.desc())
    found: UUID | None = await tx.scalar(ids.offset(WINDOW - 1).limit(1))
    return found
