"""Queries on usage by day."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from charkha.kit.db import Tx
from charkha.observe.tables import usage_days

_SUMS = ("requests", "prompt_tokens", "completion_tokens")


async def sums(
    tx: Tx, by: Collection[str], first: date, last: date, *, limit: int, **wanted: str | None
) -> Sequence[sa.Row[Any]]:
    """Sums over the days from `first` to `last`, one row for each value of the columns in `by` and each currency.

    `by` may name "month", the first day of it. `wanted` are values that columns must have; None: any.
    `cost` is None where nothing had a price; without a price the currency is ''.
    """
    columns = usage_days.c
    month = sa.cast(sa.func.date_trunc(sa.literal_column("'month'"), columns.day), sa.Date).label("month")
    groups = [month if name == "month" else columns[name] for name in by] + [columns.currency]
    total = [sa.func.sum(columns[name]).label(name) for name in _SUMS]
    cost = sa.func.sum(columns.cost).filter(columns.currency != "").label("cost")
    query = sa.select(*groups, *total, cost).where(
        columns.workspace_id == tx.workspace_id, columns.day >= first, columns.day <= last
    )
    query = query.where(*(columns[name] == value for name, value in wanted.items() if value is not None))
    return await tx.all(query.group_by(*groups).order_by(*groups).limit(limit))
