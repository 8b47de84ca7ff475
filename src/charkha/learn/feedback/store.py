"""Rows of feedback: written once under an idempotency key, never changed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on, insert

from charkha.core.clock import earlier, later
from charkha.core.ids import id_range
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page, sifted
from charkha.learn.feedback.domain import TEACHING, Signal
from charkha.learn.tables import feedback

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SLACK = timedelta(hours=1)
"""How far the clock that makes ids may be from the database's."""
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


async def ids_on(tx: Tx, inference_id: UUID, limit: int) -> list[UUID]:
    """The feedback on an inference, newest first."""
    on = (_COLUMNS.workspace_id == tx.workspace_id, _COLUMNS.inference_id == inference_id)
    rows = await tx.all(sa.select(_COLUMNS.id).where(*on).order_by(_COLUMNS.id.desc()).limit(limit))
    return [row.id for row in rows]


async def inference_of(tx: Tx, feedback_id: UUID) -> UUID | None:
    """The inference that a piece of feedback is on, if it is there and on one."""
    own = (_COLUMNS.workspace_id == tx.workspace_id, _COLUMNS.id == feedback_id)
    found: UUID | None = await tx.scalar(sa.select(_COLUMNS.inference_id).where(*own))
    return found


async def listed(
    tx: Tx, ids: tuple[UUID, UUID], equal: Mapping[str, Any], make: Callable[[sa.Row[Any]], T], **paged: Any
) -> Page[T]:
    """A page of the feedback whose ids lie in [first, last), newest first; `equal`: values by column, or a list of them.

    `inference_id` and `episode_id` have indices, and few rows each. Without them at most a window of rows is read.
    """
    statement = sa.select(feedback).where(
        _COLUMNS.workspace_id == tx.workspace_id, _COLUMNS.id >= ids[0], _COLUMNS.id < ids[1]
    )
    conditions = [
        _COLUMNS[name] == (sa.any_(sa.literal(list(value), ARRAY(sa.Uuid))) if isinstance(value, list) else value)
        for name, value in equal.items()
    ]
    if "inference_id" in equal or "episode_id" in equal:
        return await page(tx, statement.where(*conditions), feedback, make, **paged)
    return await sifted(tx, statement, feedback, make, conditions=conditions, **paged)


async def trend(tx: Tx, since: datetime, until: datetime, width: timedelta) -> Sequence[sa.Row[Any]]:
    """(at, kind, count, mean) of each bucket in [since, until) and kind that has feedback; buckets begin at midnight UTC.

    When it was is `created_at`, by the database's clock; ids, by another, only tell which rows to read.
    """
    first, last = id_range(earlier(since, _SLACK), later(until, _SLACK))
    at = sa.func.date_bin(width, _COLUMNS.created_at, _EPOCH).label("at")
    rows = sa.select(at, _COLUMNS.kind, _COLUMNS.value).where(
        *(_COLUMNS.workspace_id == tx.workspace_id, _COLUMNS.id >= first, _COLUMNS.id < last),
        *(_COLUMNS.created_at >= since, _COLUMNS.created_at < until),
    )
    given = rows.subquery()
    mean = sa.func.avg(given.c.value).filter(given.c.kind != "metric").label("mean")
    query = sa.select(given.c.at, given.c.kind, sa.func.count().label("count"), mean)
    return await tx.all(query.group_by(given.c.at, given.c.kind).order_by(given.c.at, given.c.kind))


async def teaching(tx: Tx, *, after: UUID | None, limit: int) -> list[UUID]:
    """The inferences that feedback later than `after` teaches something about, as `domain.lesson` judges; no texts.

    What decides is the latest correction, or else the latest thumb, if it is up. It is looked up for each inference of
    the last `limit` pieces by itself: the planner would rather read all feedback there is.
    """
    about = (_COLUMNS.workspace_id == tx.workspace_id, _COLUMNS.kind.in_(TEACHING))
    newest = sa.select(_COLUMNS.inference_id).where(*about, _COLUMNS.inference_id.is_not(None))
    if after is not None:
        newest = newest.where(_COLUMNS.id > after)
    pieces = newest.order_by(_COLUMNS.id.desc()).limit(limit).subquery()
    touched = sa.select(pieces.c.inference_id).distinct().subquery()
    deciding = (
        sa.select(_COLUMNS.id, _COLUMNS.kind, _COLUMNS.value)
        .where(*about, _COLUMNS.inference_id == touched.c.inference_id)
        .order_by((_COLUMNS.kind == "correction").desc(), _COLUMNS.id.desc())
        .limit(1)
        .lateral()
    )
    query = sa.select(touched.c.inference_id).select_from(touched.join(deciding, sa.true()))
    query = query.where(sa.or_(deciding.c.kind == "correction", deciding.c.value == 1))
    if after is not None:
        query = query.where(deciding.c.id > after)
    return [row.inference_id for row in await tx.all(query)]


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
