"""Rows of suites, evaluations, and what each version scored on each example of a suite."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on, insert

from charkha.core.errors import NotFound
from charkha.evaluate.cards import Scores
from charkha.evaluate.scoring import Metric
from charkha.evaluate.tables import evaluations, outcomes, suites
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page, sifted

Status = Literal["queued", "running", "succeeded", "failed"]
ACTIVE: tuple[Status, ...] = ("queued", "running")


class Suite(msgspec.Struct, frozen=True):
    """What an endpoint's versions are measured on: a data set version that is never learned from."""

    id: UUID
    name: str
    endpoint_id: UUID
    dataset_version_id: UUID
    created_at: datetime


class Evaluation(msgspec.Struct, frozen=True):
    """A version measured on a suite, beside an incumbent if one is named. `scorecard` is a `cards.Card` as JSON."""

    id: UUID
    suite_id: UUID
    candidate_version_id: UUID
    incumbent_version_id: UUID | None
    status: Status
    done: int
    total: int | None
    scorecard: dict[str, Any] | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    def versions(self) -> list[UUID]:
        """The versions to measure."""
        return [each for each in (self.candidate_version_id, self.incumbent_version_id) if each is not None]


_EVALUATION_FIELDS = tuple(field.name for field in msgspec.structs.fields(Evaluation))
_SUITE_FIELDS = tuple(field.name for field in msgspec.structs.fields(Suite))


async def add_suite(tx: Tx, **values: Any) -> bool:
    """Insert a suite; False where its name is taken."""
    statement = insert(suites).values(workspace_id=tx.workspace_id, **values).on_conflict_do_nothing()
    return await tx.one(statement.returning(suites.c.id)) is not None


async def suite(tx: Tx, suite_id: UUID) -> Suite:
    """A suite. Raises NotFound."""
    row = await tx.one(sa.select(suites).where(suites.c.id == suite_id))
    if row is None:
        raise NotFound("There is no such suite in this workspace.", remedy="See GET /suites.")
    return _suite(row)


async def suites_of(tx: Tx, endpoint_id: UUID) -> list[Suite]:
    """The suites of an endpoint, the newest first."""
    query = sa.select(suites).where(suites.c.endpoint_id == endpoint_id).order_by(suites.c.id.desc())
    return [_suite(row) for row in await tx.all(query)]


async def listed_suites(tx: Tx, *, dataset_version_id: UUID | None, after: UUID | None, limit: int) -> Page[Suite]:
    """Suites, newest first, that hold one data set version out if given."""
    query = sa.select(suites).where(suites.c.workspace_id == tx.workspace_id)
    held_out = [suites.c.dataset_version_id == dataset_version_id] if dataset_version_id else []
    return await sifted(tx, query, suites, _suite, conditions=held_out, after=after, limit=limit)


async def add(tx: Tx, **values: Any) -> None:
    """Insert an evaluation."""
    await tx.insert(evaluations, status="queued", **values)


async def get(tx: Tx, evaluation_id: UUID) -> Evaluation:
    """An evaluation. Raises NotFound."""
    row = await tx.one(sa.select(evaluations).where(evaluations.c.id == evaluation_id))
    if row is None:
        raise NotFound("There is no such evaluation in this workspace.", remedy="See GET /evaluations.")
    return _evaluation(row)


async def active(tx: Tx, suite_id: UUID, candidate: UUID, incumbent: UUID | None) -> UUID | None:
    """The evaluation of the same versions that is under way, if there is one."""
    found: UUID | None = await tx.scalar(
        sa.select(evaluations.c.id).where(
            evaluations.c.workspace_id == tx.workspace_id,
            evaluations.c.suite_id == suite_id,
            evaluations.c.candidate_version_id == candidate,
            evaluations.c.incumbent_version_id.is_not_distinct_from(incumbent),
            evaluations.c.status.in_(ACTIVE),
        )
    )
    return found


async def listed(
    tx: Tx,
    *,
    suite_id: UUID | None,
    candidates: Sequence[UUID],
    status: Status | None,
    newest: bool,
    after: UUID | None,
    limit: int,
) -> Page[Evaluation]:
    """Evaluations, newest first, that match everything given; of each candidate the newest of them, if so wanted."""
    asked = [evaluations.c.workspace_id == tx.workspace_id]
    if suite_id is not None:
        asked.append(evaluations.c.suite_id == suite_id)
    if status is not None:
        asked.append(evaluations.c.status == status)
    if candidates:
        asked.append(evaluations.c.candidate_version_id == sa.any_(sa.literal(list(candidates), ARRAY(sa.Uuid))))
    query = sa.select(evaluations).where(*asked)
    if newest:
        of = evaluations.c.candidate_version_id
        ids = sa.select(evaluations.c.id).ext(distinct_on(of)).where(*asked).order_by(of, evaluations.c.id.desc())
        query = query.where(evaluations.c.id.in_(ids))
    return await page(tx, query, evaluations, _evaluation, after=after, limit=limit)


async def claim(tx: Tx, evaluation_id: UUID) -> Evaluation | None:
    """Mark an evaluation as running; None if it has ended."""
    statement = (
        evaluations.update()
        .where(evaluations.c.id == evaluation_id, evaluations.c.status.in_(ACTIVE))
        .values(status="running", started_at=sa.func.coalesce(evaluations.c.started_at, sa.func.now()))
        .returning(evaluations)
    )
    row = await tx.one(statement)
    return _evaluation(row) if row else None


async def progress(tx: Tx, evaluation_id: UUID, done: int, total: int) -> None:
    """Store how far a running evaluation is."""
    await tx.execute(_running(evaluation_id).values(done=done, total=total))


async def finish(tx: Tx, evaluation_id: UUID, status: Status, **values: Any) -> bool:
    """End a running evaluation. False if it has ended already: only one worker ends it."""
    return await tx.execute(_running(evaluation_id).values(status=status, ended_at=sa.func.now(), **values)) == 1


async def measured(tx: Tx, suite_id: UUID, version_ids: Collection[UUID]) -> dict[UUID, dict[Metric, Scores]]:
    """What versions have scored on a suite so far, by metric."""
    query = sa.select(outcomes.c.version_id, outcomes.c.metric, outcomes.c.scores).where(
        outcomes.c.workspace_id == tx.workspace_id,
        outcomes.c.suite_id == suite_id,
        outcomes.c.version_id.in_(version_ids),
    )
    found: dict[UUID, dict[Metric, Scores]] = {version_id: {} for version_id in version_ids}
    for row in await tx.all(query):
        found[row.version_id][row.metric] = row.scores
    return found


async def add_outcome(
    tx: Tx, suite_id: UUID, version_id: UUID, metric: Metric, scores: Scores, answers: list[str | None]
) -> None:
    """Keep what a version scored; what is kept already stays."""
    statement = insert(outcomes).values(
        workspace_id=tx.workspace_id,
        suite_id=suite_id,
        version_id=version_id,
        metric=metric,
        scores=list(scores),
        answers=answers,
    )
    await tx.execute(statement.on_conflict_do_nothing())


def _running(evaluation_id: UUID) -> sa.Update:
    return evaluations.update().where(evaluations.c.id == evaluation_id, evaluations.c.status == "running")


def _suite(row: sa.Row[Any]) -> Suite:
    return Suite(**{name: getattr(row, name) for name in _SUITE_FIELDS})


def _evaluation(row: sa.Row[Any]) -> Evaluation:
    return Evaluation(**{name: getattr(row, name) for name in _EVALUATION_FIELDS})
