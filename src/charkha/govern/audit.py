"""The audit trail: who did what to what, written in the transaction of the action, so that neither is without the other."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from charkha.core.ids import uuid7
from charkha.govern.tables import audit
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page


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


async def listed(tx: Tx, *, action: str | None = None, after: UUID | None = None, limit: int = 50) -> Page[AuditRow]:
    """The trail, newest first, of one action if given."""
    query = sa.select(audit)
    if action:
        query = query.where(audit.c.action == action)
    return await page(tx, query, audit, _row, after=after, limit=limit)


def _row(row: sa.Row[Any]) -> AuditRow:
    return AuditRow(row.id, row.created_at, row.actor, row.action, row.target_kind, row.target_id, row.detail)
