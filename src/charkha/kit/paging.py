"""Keyset paging: lists are ordered by id, newest first, and the next page starts after the last id seen."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa

from charkha.kit.db import Tx

T = TypeVar("T")
LIMIT = 500


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. `next` is the `after` of the following page, or None at the end."""

    data: list[T]
    next: UUID | None


async def page(
    tx: Tx,
    statement: sa.Select[Any],
    table: sa.Table,
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
