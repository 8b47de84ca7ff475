"""The rows of rollouts and of the decisions about them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from charkha.core.ids import uuid7
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.release.rollouts.domain import ACTIVE, CAN_GO_BACK, Action, Decision, Rollout, Rules, Status
from charkha.release.tables import decisions, rollouts, versions

# A declined candidate never became a variant, and the column is not null.
_NO_VARIANT = UUID(int=0)


async def add(tx: Tx, **values: Any) -> UUID:
    """Write a rollout; returns its id. Values are those of the columns."""
    rollout_id = uuid7()
    values = {**values, "candidate_variant_id": _NO_VARIANT, "rules": msgspec.to_builtins(values["rules"])}
    await tx.insert(rollouts, id=rollout_id, **values)
    return rollout_id


async def change(tx: Tx, rollout_id: UUID, **values: Any) -> None:
    """Change columns of a rollout that this transaction holds."""
    if "rules" in values:
        values["rules"] = msgspec.to_builtins(values["rules"])
    own = (rollouts.c.workspace_id == tx.workspace_id, rollouts.c.id == rollout_id)
    await tx.execute(rollouts.update().where(*own).values(**values))


async def get(tx: Tx, rollout_id: UUID) -> Rollout | None:
    """A rollout, or None."""
    row = await tx.one(_all(tx).where(rollouts.c.id == rollout_id))
    return row and _rollout(row)


async def hold(tx: Tx, rollout_id: UUID, *, wait: bool = True) -> Rollout | None:
    """A rollout, which nobody else changes until the transaction ends; without `wait` None if somebody holds it."""
    query = _all(tx).where(rollouts.c.id == rollout_id).with_for_update(of=rollouts, skip_locked=not wait)
    row = await tx.one(query)
    return row and _rollout(row)


async def hold_undone(tx: Tx, endpoint_id: UUID) -> list[Rollout]:
    """The endpoint's rollouts that are under way or could be rolled back, newest first, held."""
    query = _all(tx).where(rollouts.c.endpoint_id == endpoint_id, rollouts.c.status.in_((*ACTIVE, *CAN_GO_BACK)))
    return [_rollout(row) for row in await tx.all(query.order_by(rollouts.c.id.desc()).with_for_update(of=rollouts))]


async def is_occupied(tx: Tx, endpoint_id: UUID) -> bool:
    """Whether a rollout of the endpoint is under way. Ask while holding the endpoint's lock."""
    active = sa.and_(rollouts.c.endpoint_id == endpoint_id, rollouts.c.status.in_(ACTIVE))
    return bool(await tx.scalar(sa.select(sa.exists().where(rollouts.c.workspace_id == tx.workspace_id, active))))


async def is_decided(tx: Tx, evaluation_id: UUID) -> bool:
    """Whether a scorecard has led to a rollout, or to a declined one."""
    of = (rollouts.c.workspace_id == tx.workspace_id, rollouts.c.evaluation_id == evaluation_id)
    return bool(await tx.scalar(sa.select(sa.exists().where(*of))))


async def listed(
    tx: Tx,
    *,
    endpoint_id: UUID | None,
    candidate: UUID | None,
    status: Status | None,
    after: UUID | None,
    limit: int,
) -> Page[Rollout]:
    """Rollouts, newest first."""
    columns, query = rollouts.c, _all(tx)
    for column, value in (
        (columns.endpoint_id, endpoint_id),
        (columns.candidate_version_id, candidate),
        (columns.status, status),
    ):
        if value is not None:
            query = query.where(column == value)
    return await page(tx, query, rollouts, _rollout, after=after, limit=limit)


async def decided(
    tx: Tx, rollout_id: UUID, action: Action, share: int, verdict: str, reason: str, evidence: dict[str, Any]
) -> None:
    """Write a decision."""
    said = {"verdict": verdict, "reason": reason, "evidence": evidence}
    await tx.insert(decisions, id=uuid7(), rollout_id=rollout_id, action=action, share=share, **said)


async def decisions_of(tx: Tx, rollout_id: UUID) -> list[Decision]:
    """Every decision about a rollout, oldest first."""
    query = sa.select(decisions).where(
        decisions.c.workspace_id == tx.workspace_id, decisions.c.rollout_id == rollout_id
    )
    return [_decision(row) for row in await tx.all(query.order_by(decisions.c.created_at, decisions.c.id))]


def active() -> sa.Select[tuple[UUID, UUID]]:
    """The (workspace_id, id) of every rollout under way; for a connection that crosses workspaces."""
    query = sa.select(rollouts.c.workspace_id, rollouts.c.id).where(rollouts.c.status.in_(ACTIVE))
    return query.order_by(rollouts.c.id)


def _all(tx: Tx) -> sa.Select[Any]:
    name = versions.c.name.concat("@").concat(sa.cast(versions.c.number, sa.Text)).label("candidate")
    of = (versions.c.workspace_id == rollouts.c.workspace_id, versions.c.id == rollouts.c.candidate_version_id)
    return sa.select(rollouts, name).join(versions, sa.and_(*of)).where(rollouts.c.workspace_id == tx.workspace_id)


def _rollout(row: sa.Row[Any]) -> Rollout:
    values = {name: row._mapping[name] for name in Rollout.__struct_fields__}
    values["steps"] = _steps(row.steps)
    values["rules"] = msgspec.convert(row.rules, Rules)
    if row.candidate_variant_id == _NO_VARIANT:
        values["candidate_variant_id"] = None
    return Rollout(**values)


def _steps(steps: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(step) for step in steps)


def _decision(row: sa.Row[Any]) -> Decision:
    return Decision(row.id, row.created_at, row.action, row.share, row.verdict, row.reason, row.evidence)
