"""Rows of runs and their curves. Every write of a worker names its attempt: a superseded one changes nothing."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charkha.core.errors import NotFound
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.learn.runs.domain import ACTIVE, Point, Run, Status
from charkha.learn.tables import run_points, runs

_FIELDS = tuple(field.name for field in msgspec.structs.fields(Run))


async def add(tx: Tx, **values: Any) -> bool:
    """Insert a run; False where the endpoint has an active one already."""
    statement = insert(runs).values(workspace_id=tx.workspace_id, **values).on_conflict_do_nothing()
    return await tx.one(statement.returning(runs.c.id)) is not None


async def get(tx: Tx, run_id: UUID) -> Run:
    """A run. Raises NotFound."""
    row = await tx.one(sa.select(runs).where(runs.c.id == run_id))
    if row is None:
        raise NotFound("There is no such run in this workspace.", remedy="See `charkha runs list`.")
    return _run(row)


async def listed(tx: Tx, *, endpoint_id: UUID | None, after: UUID | None, limit: int) -> Page[Run]:
    """Runs, newest first, of one endpoint if given."""
    query = sa.select(runs)
    if endpoint_id is not None:
        query = query.where(runs.c.endpoint_id == endpoint_id)
    return await page(tx, query, runs, _run, after=after, limit=limit)


async def is_active(tx: Tx, endpoint_id: UUID) -> bool:
    """Whether a candidate of the endpoint is in the making."""
    query = sa.select(runs.c.id).where(runs.c.endpoint_id == endpoint_id, runs.c.status.in_(ACTIVE))
    return await tx.scalar(query.limit(1)) is not None


async def points(tx: Tx, run_id: UUID, *, after_step: int = -1, limit: int = 5000) -> list[Point]:
    """Points of a run's curve after a step, in order."""
    query = sa.select(run_points).where(
        run_points.c.workspace_id == tx.workspace_id, run_points.c.run_id == run_id, run_points.c.step > after_step
    )
    rows = await tx.all(query.order_by(run_points.c.step).limit(limit))
    return [Point(row.step, row.loss, row.learning_rate, row.tokens_per_second) for row in rows]


async def request_cancel(tx: Tx, run_id: UUID) -> bool:
    """Ask for an active run to be cancelled; one that waits still is cancelled at once. False if it has ended."""
    waiting = runs.c.status == "queued"
    statement = (
        runs.update()
        .where(runs.c.id == run_id, runs.c.status.in_(ACTIVE))
        .values(
            cancel_requested=True,
            status=sa.case((waiting, "cancelled"), else_=runs.c.status),
            ended_at=sa.case((waiting, sa.func.now()), else_=runs.c.ended_at),
        )
    )
    return await tx.execute(statement) == 1


async def requeue(tx: Tx, run_id: UUID) -> bool:
    """Queue a failed or cancelled run again. False for one that is neither."""
    statement = (
        runs.update()
        .where(runs.c.id == run_id, runs.c.status.in_(("failed", "cancelled")))
        .values(status="queued", error=None, cancel_requested=False, ended_at=None, seconds_left=None)
    )
    return await tx.execute(statement) == 1


async def claim(tx: Tx, run_id: UUID) -> Run | None:
    """Begin a new attempt at an active run, which supersedes every earlier one. None if the run has ended."""
    statement = (
        runs.update()
        .where(runs.c.id == run_id, runs.c.status.in_(ACTIVE))
        .values(
            status="running", attempt=runs.c.attempt + 1, started_at=sa.func.coalesce(runs.c.started_at, sa.func.now())
        )
        .returning(runs)
    )
    row = await tx.one(statement)
    return _run(row) if row else None


async def beat(
    tx: Tx, run_id: UUID, attempt: int, *, step: int, steps: int | None, seconds_left: float | None
) -> bool | None:
    """Store where an attempt is. Returns whether it shall stop, or None if it is superseded."""
    statement = (
        _attempt(run_id, attempt)
        .values(step=step, steps=sa.func.coalesce(steps, runs.c.steps), seconds_left=seconds_left)
        .returning(runs.c.cancel_requested)
    )
    row = await tx.one(statement)
    return bool(row.cancel_requested) if row else None


async def add_points(tx: Tx, run_id: UUID, new: Iterable[Point]) -> None:
    """Store points of a curve; a resumed run draws over the steps that it makes again."""
    rows = [{"workspace_id": tx.workspace_id, "run_id": run_id, **msgspec.structs.asdict(point)} for point in new]
    if not rows:
        return
    statement = insert(run_points)
    drawn_over = {name: statement.excluded[name] for name in ("loss", "learning_rate", "tokens_per_second")}
    key = [run_points.c.workspace_id, run_points.c.run_id, run_points.c.step]
    await tx.execute(statement.on_conflict_do_update(index_elements=key, set_=drawn_over), rows)


async def finish(tx: Tx, run_id: UUID, attempt: int, status: Status, **values: Any) -> bool:
    """End a run in `status`. False if the attempt is superseded."""
    statement = _attempt(run_id, attempt).values(status=status, ended_at=sa.func.now(), seconds_left=None, **values)
    return await tx.execute(statement) == 1


def _attempt(run_id: UUID, attempt: int) -> sa.Update:
    return runs.update().where(runs.c.id == run_id, runs.c.attempt == attempt, runs.c.status == "running")


def _run(row: sa.Row[Any]) -> Run:
    return Run(**{name: getattr(row, name) for name in _FIELDS})
