"""Queries on usage by day."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from charkha.kit.db import Tx
from charkha.observe.tables import usage_days

_SUMS = ("requests", "prompt_tokens", "completion_tokens")


async def sums(
    tx: Tx, by: Collection[str], first: date, last: date, actor: str | None, model: str | None, limit: int
) -> Sequence[sa.Row[Any]]:
    """Sums over the days from `first` to `last`, one row for each value of the columns in `by` and each currency.

    `cost` is None where nothing had a price; without a price the currency is ''.
    """
    columns = usage_days.c
    groups = [columns[name] for name in by] + [columns.currency]
    total = [sa.func.sum(columns[name]).label(name) for name in _SUMS]
    cost = sa.func.sum(columns.cost).filter(columns.currency != "").label("cost")
    query = sa.select(*groups, *total, cost).where(
        columns.workspace_id == tx.workspace_id, columns.day >= first, columns.day <= last
    )
    for column, wanted in ((columns.actor, actor), (columns.model, model)):
        if wanted is not None:
            query = query.where(column == wanted)
    return await tx.all(query.group_by(*groups).order_by(*groups).limit(limit))
