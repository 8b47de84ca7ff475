"""Queries on usage by day."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from charkha.kit.db import Tx
from charkha.observe.tables import usage_days

_SUMS = ("requests", "prompt_tokens", "completion_tokens", "cached", "missed")


async def sums(
    tx: Tx, by: Collection[str], first: date, last: date, *, limit: int, **wanted: str | None
) -> Sequence[sa.Row[Any]]:
    """Sums over the days from `first` to `last`, one row for each value of the columns in `by` and each currency.

    `by` may name "month", the first day of it. `wanted` are values that columns must have; None: any.
    `cost` and `saved` are None where nothing had a price; without a price the currency is ''.
    """
    columns = usage_days.c
    month = sa.cast(sa.func.date_trunc(sa.literal_column("'month'"), columns.day), sa.Date).label("month")
    groups = [month if name == "month" else columns[name] for name in by] + [columns.currency]
    total = [sa.func.sum(columns[name]).label(name) for name in _SUMS]
    total += [sa.func.sum(columns[name]).filter(columns.currency != "").label(name) for name in ("cost", "saved")]
    query = sa.select(*groups, *total).where(
        columns.workspace_id == tx.workspace_id, columns.day >= first, columns.day <= last
    )
    query = query.where(*(columns[name] == value for name, value in wanted.items() if value is not None))
    return await tx.all(query.group_by(*groups).order_by(*groups).limit(limit))


async def caches(tx: Tx, models: Collection[str], first: date, last: date) -> Sequence[sa.Row[Any]]:
    """`cached`, `missed` and `saved` of each of some models and each currency, over the days from `first` to `last`."""
    columns = usage_days.c
    total = [sa.func.sum(columns[name]).label(name) for name in ("cached", "missed", "saved")]
    query = sa.select(columns.model, columns.currency, *total).where(
        columns.workspace_id == tx.workspace_id,
        columns.day.between(first, last),
        columns.model == sa.any_(sa.literal(list(models), ARRAY(sa.Text))),
    )
    return await tx.all(query.group_by(columns.model, columns.currency).order_by(columns.model, columns.currency))
