"""The audit trail: who did what to what, written in the transaction of the action, so that neither is without the other."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from charkha.core.ids import id_range, uuid7
from charkha.govern.tables import audit
from charkha.kit.db import Tx
from charkha.kit.paging import Page, sifted


class AuditRow(msgspec.Struct, frozen=True):
    """One action."""

    id: UUID
    at: datetime
    actor: str
    action: str
    target_kind: str
    target_id: str
    detail: dict[str, Any]


async def record(tx: Tx, action: str, target_kind: str, target_id: object, **detail: Any) -> None:
    """Write that the transaction's actor does `action` to a target. `detail` holds JSON values and no secrets."""
    await tx.insert(
        audit,
        id=uuid7(),
        actor=tx.actor,
        action=action,
        target_kind=target_kind,
        target_id=str(target_id),
        detail=detail,
    )


async def listed(
    tx: Tx,
    *,
    actor: str | None = None,
    action: str | None = None,
    target_kind: str | None = None,
    target_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: UUID | None = None,
    limit: int = 50,
) -> Page[AuditRow]:
    """The trail, newest first, of what matches everything given; [since, until) is a range of time.

    `target_id` has an index. For the others a page reads a window, so that it may be short, or empty, before the end.
    """
    first, last = id_range(since, until)
    query = sa.select(audit).where(audit.c.workspace_id == tx.workspace_id, audit.c.id >= first, audit.c.id < last)
    if target_id is not None:
        query = query.where(audit.c.target_id == target_id)
    wanted = {"actor": actor, "action": action, "target_kind": target_kind}
    conditions = [audit.c[name] == value for name, value in wanted.items() if value is not None]
    return await sifted(tx, query, audit, _row, conditions=conditions, after=after, limit=limit)


def _row(row: sa.Row[Any]) -> AuditRow:
    return AuditRow(row.id, row.created_at, row.actor, row.action, row.target_kind, row.target_id, row.detail)
