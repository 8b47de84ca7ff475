"""Queries on the inference log. Each names its workspace, for the indices, and a range of ids, for the partitions."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from charkha.kit.db import Tx
from charkha.observe.tables import inference_bodies, inferences

Range = tuple[UUID, UUID]


def failed(columns: Any) -> sa.ColumnElement[bool]:
    """Whether a request failed that was not its client's fault.

    In literals and not in parameters, so that a plan made for any parameters can use the index of what failed.
    """
    return sa.or_(
        columns.status >= sa.literal_column("500"),
        sa.func.coalesce(columns.error_code, sa.literal_column("''")) == sa.literal_column("'process_died'"),
    )


FAILED = failed(inferences.c)
AGAIN = ("hit", "semantic")
"""What `cache` says of an answer that was given again: how long that took says nothing about who answered at first."""
_WITH_BODY = inferences.outerjoin(
    inference_bodies,
    sa.and_(inference_bodies.c.workspace_id == inferences.c.workspace_id, inference_bodies.c.id == inferences.c.id),
)
_BODY = (
    inference_bodies.c.version.label("body_version"),
    inference_bodies.c.request,
    inference_bodies.c.answer,
)


def between(tx: Tx, ids: Range) -> sa.Select[Any]:
    """The workspace's inferences whose ids lie in [first, last)."""
    column = inferences.c.id
    return sa.select(inferences).where(inferences.c.workspace_id == tx.workspace_id, column >= ids[0], column < ids[1])


def _among(tx: Tx, ids: Collection[UUID]) -> sa.ColumnElement[bool]:
    """The workspace's inferences of `ids`, in the partitions that can hold them: one parameter, however many ids."""
    return sa.and_(
        inferences.c.workspace_id == tx.workspace_id,
        inferences.c.id.between(min(ids), max(ids)),
        inferences.c.id == sa.any_(sa.literal(list(ids), ARRAY(sa.Uuid))),
    )


async def with_bodies(tx: Tx, ids: Collection[UUID]) -> Sequence[sa.Row[Any]]:
    """Inferences by id, each with `body_version`, `request` and `answer` (all None where no content is kept)."""
    if not ids:
        return []
    return await tx.all(sa.select(inferences, *_BODY).select_from(_WITH_BODY).where(_among(tx, ids)))


async def known(tx: Tx, ids: Collection[UUID]) -> set[UUID]:
    """Which of `ids` are in the log."""
    if not ids:
        return set()
    return {row.id for row in await tx.all(sa.select(inferences.c.id).where(_among(tx, ids)))}


async def count_kept(tx: Tx, endpoint_id: UUID, ids: Collection[UUID]) -> int:
    """How many of `ids` are inferences of an endpoint whose content is kept."""
    if not ids:
        return 0
    query = sa.select(sa.func.count()).select_from(_WITH_BODY).where(_among(tx, ids))
    kept = (inferences.c.endpoint_id == endpoint_id, inference_bodies.c.id.is_not(None))
    return int(await tx.scalar(query.where(*kept)) or 0)


async def observed(
    tx: Tx, endpoint_id: UUID, variant_ids: Collection[UUID], ids: Range, purpose: str, limit: int
) -> Sequence[sa.Row[Any]]:
    """The first `limit` inferences of some variants of an endpoint in a range of ids, in the order of ids."""
    columns = inferences.c
    query = (
        between(tx, ids)
        .with_only_columns(columns.id, columns.variant_id, columns.status, columns.error_code, _took(columns))
        .where(columns.endpoint_id == endpoint_id, columns.purpose == purpose)
        .where(columns.variant_id == sa.any_(sa.literal(list(variant_ids), ARRAY(sa.Uuid))))
    )
    return await tx.all(query.order_by(columns.id).limit(limit))


def _took(columns: Any) -> sa.Label[Any]:
    return sa.case((sa.func.coalesce(columns.cache, "").in_(AGAIN), None), else_=columns.duration_ms).label(
        "duration_ms"
    )


async def stats(tx: Tx, ids: Range, endpoint_id: UUID | None, newest: int | None = None) -> Sequence[sa.Row[Any]]:
    """Requests, errors, latencies and tokens of each variant in a range of ids, or of the `newest` requests in it."""
    query = between(tx, ids)
    if endpoint_id:
        query = query.where(inferences.c.endpoint_id == endpoint_id)
    if newest is not None:
        query = query.order_by(inferences.c.id.desc()).limit(newest)
    among = query.subquery()
    columns = among.c
    took = _took(columns)
    well = sa.and_(columns.status < 400, took.is_not(None))

    def percentile(share: float) -> sa.ColumnElement[Any]:
        return sa.func.percentile_cont(share).within_group(took).filter(well)

    figures = sa.select(
        columns.endpoint_id,
        columns.variant_id,
        sa.func.count().label("requests"),
        sa.func.count().filter(failed(columns)).label("errors"),
        percentile(0.5).label("p50_ms"),
        percentile(0.95).label("p95_ms"),
        sa.func.coalesce(sa.func.sum(columns.prompt_tokens), 0).label("prompt_tokens"),
        sa.func.coalesce(sa.func.sum(columns.completion_tokens), 0).label("completion_tokens"),
    )
    group = (columns.endpoint_id, columns.variant_id)
    return await tx.all(figures.group_by(*group).order_by(*group))
