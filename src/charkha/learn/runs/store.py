"""Rows of runs, their curves and their logs. Every write of a worker names its attempt: a superseded one changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from charkha.core.errors import NotFound
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.learn.runs.domain import ACTIVE, Line, Point, Run, Status
from charkha.learn.runs.journal import FULL, MOST_LINES, Said
from charkha.learn.tables import run_log, run_points, runs

_FIELDS = tuple(field.name for field in msgspec.structs.fields(Run))
_LOSS = (
    sa.select(run_points.c.loss)
    .where(run_points.c.workspace_id == runs.c.workspace_id, run_points.c.run_id == runs.c.id)
    .order_by(run_points.c.step.desc())
    .limit(1)
    .correlate(runs)
    .scalar_subquery()
    .label("loss")
)


async def add(tx: Tx, **values: Any) -> bool:
    """Insert a run; False where the endpoint has an active one already."""
    statement = insert(runs).values(workspace_id=tx.workspace_id, **values).on_conflict_do_nothing()
    return await tx.one(statement.returning(runs.c.id)) is not None


async def get(tx: Tx, run_id: UUID) -> Run:
    """A run. Raises NotFound."""
    row = await tx.one(sa.select(runs, _LOSS).where(runs.c.id == run_id))
    if row is None:
        raise NotFound("There is no such run in this workspace.", remedy="See `charkha runs list`.")
    return _run(row)


async def listed(tx: Tx, equal: Mapping[str, Any], *, after: UUID | None, limit: int) -> Page[Run]:
    """Runs, newest first, whose columns have the values of `equal` or one of a list, as far as they are not None."""
    query = sa.select(runs, _LOSS).where(runs.c.workspace_id == tx.workspace_id)
    query = query.where(*(_is(runs.c[name], value) for name, value in equal.items() if value is not None))
    return await page(tx, query, runs, _run, after=after, limit=limit)


def _is(column: sa.Column[Any], value: Any) -> sa.ColumnElement[bool]:
    return column == (sa.any_(sa.literal(value, ARRAY(sa.Uuid))) if isinstance(value, list) else value)


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


async def sampled(tx: Tx, run_id: UUID, most: int) -> list[Point]:
    """A run's whole curve in at most `most` points: means of neighbours where there are more, at the last of their steps."""
    column = run_points.c
    place = sa.func.row_number().over(order_by=column.step) - 1
    group = (place * most // sa.func.count().over()).label("part")
    measured = (column.step, column.loss, column.learning_rate, column.tokens_per_second)
    every = (
        sa.select(*measured, group).where(column.workspace_id == tx.workspace_id, column.run_id == run_id).subquery()
    )
    first, *others = (every.c[each.name] for each in measured)
    means = (sa.func.avg(each).label(each.name) for each in others)
    rows = await tx.all(sa.select(sa.func.max(first).label("step"), *means).group_by(every.c.part).order_by("step"))
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
        .returning(runs, _LOSS)
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


async def is_own(tx: Tx, run_id: UUID, attempt: int) -> bool:
    """Whether an attempt is not superseded; if so, nobody supersedes it until the transaction ends."""
    own = (runs.c.id == run_id, runs.c.attempt == attempt, runs.c.status == "running")
    return await tx.one(sa.select(runs.c.id).where(*own).with_for_update()) is not None


async def add_lines(tx: Tx, run_id: UUID, new: Sequence[Said]) -> None:
    """Append to a run's log, which the transaction holds as its run's attempt. A full log says so once."""
    if not new:
        return
    own = (run_log.c.workspace_id == tx.workspace_id, run_log.c.run_id == run_id)
    last = int(await tx.scalar(sa.select(sa.func.max(run_log.c.number)).where(*own)) or 0)
    told = [*new[: max(0, MOST_LINES - last)]]
    if len(told) < len(new) and last <= MOST_LINES:
        told.append(Said(new[len(told)].at, FULL))
    key = {"workspace_id": tx.workspace_id, "run_id": run_id}
    rows = [{**key, "number": number, "at": line.at, "text": line.text} for number, line in enumerate(told, last + 1)]
    if rows:
        await tx.execute(run_log.insert(), rows)


async def lines(tx: Tx, run_id: UUID, *, after: int, limit: int, last: bool = False) -> list[Line]:
    """Lines of a run's log after a number, in order: the first `limit` of them, or the last."""
    query = sa.select(run_log).where(
        run_log.c.workspace_id == tx.workspace_id, run_log.c.run_id == run_id, run_log.c.number > after
    )
    rows = await tx.all(query.order_by(run_log.c.number.desc() if last else run_log.c.number).limit(limit))
    return [Line(row.number, row.at, row.text) for row in (reversed(rows) if last else rows)]


async def finish(tx: Tx, run_id: UUID, attempt: int, status: Status, **values: Any) -> bool:
    """End a run in `status`. False if the attempt is superseded."""
    statement = _attempt(run_id, attempt).values(status=status, ended_at=sa.func.now(), seconds_left=None, **values)
    return await tx.execute(statement) == 1


def _attempt(run_id: UUID, attempt: int) -> sa.Update:
    return runs.update().where(runs.c.id == run_id, runs.c.attempt == attempt, runs.c.status == "running")


def _run(row: sa.Row[Any]) -> Run:
    return Run(**{name: getattr(row, name) for name in _FIELDS})
