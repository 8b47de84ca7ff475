"""Rows of feedback: written once under an idempotency key, never changed."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on, insert

from charkha.kit.db import Tx
from charkha.learn.feedback.domain import Signal
from charkha.learn.tables import feedback

_COLUMNS = feedback.c


async def insert_new(tx: Tx, rows: Sequence[dict[str, Any]]) -> Sequence[sa.Row[Any]]:
    """Insert the rows whose idempotency key is new, and return those.

    They go in by key: two batches with keys in common wait for one another and never for each other.
    """
    ordered = sorted(rows, key=lambda row: row["idempotency_key"] or "")
    key = [_COLUMNS.workspace_id, _COLUMNS.idempotency_key]
    statement = insert(feedback).on_conflict_do_nothing(index_elements=key).returning(feedback)
    result = await tx.conn.execute(statement, [{"workspace_id": tx.workspace_id, **row} for row in ordered])
    return list(result)


async def by_key(tx: Tx, keys: Collection[str]) -> dict[str, sa.Row[Any]]:
    """The rows under these idempotency keys."""
    if not keys:
        return {}
    query = sa.select(feedback).where(
        _COLUMNS.workspace_id == tx.workspace_id,
        _COLUMNS.idempotency_key == sa.any_(sa.literal(list(keys), ARRAY(sa.Text))),
    )
    return {row.idempotency_key: row for row in await tx.all(query)}


async def signals(tx: Tx, inference_ids: Collection[UUID], kinds: Sequence[str]) -> dict[UUID, list[Signal]]:
    """The feedback of some kinds on inferences, by inference."""
    if not inference_ids:
        return {}
    among = _COLUMNS.inference_id == sa.any_(sa.literal(list(inference_ids), ARRAY(sa.Uuid)))
    return await _signals(tx, among, kinds)


async def newest_signals(tx: Tx, kinds: Sequence[str], *, after: UUID | None, limit: int) -> dict[UUID, list[Signal]]:
    """All feedback of some kinds on the `limit` inferences that had such feedback last, and later than `after`."""
    last = (
        sa.select(_COLUMNS.inference_id, _COLUMNS.id)
        .where(_COLUMNS.workspace_id == tx.workspace_id, _COLUMNS.kind.in_(kinds), _COLUMNS.inference_id.is_not(None))
        .order_by(_COLUMNS.inference_id, _COLUMNS.id.desc())
        .ext(distinct_on(_COLUMNS.inference_id))
    )
    if after is not None:
        last = last.where(_COLUMNS.id > after)
    touched = last.subquery()
    newest = sa.select(touched.c.inference_id).order_by(touched.c.id.desc()).limit(limit)
    return await _signals(tx, _COLUMNS.inference_id.in_(newest), kinds)


async def _signals(tx: Tx, among: sa.ColumnElement[bool], kinds: Sequence[str]) -> dict[UUID, list[Signal]]:
    query = (
        sa.select(_COLUMNS.inference_id, _COLUMNS.id, _COLUMNS.kind, _COLUMNS.value, _COLUMNS.text)
        .where(_COLUMNS.workspace_id == tx.workspace_id, _COLUMNS.kind.in_(kinds), among)
        .order_by(_COLUMNS.inference_id, _COLUMNS.id)
    )
    return {
        inference: [Signal(row.id, row.kind, row.value, row.text) for row in rows]
        for inference, rows in groupby(await tx.all(query), key=lambda row: row.inference_id)
    }
