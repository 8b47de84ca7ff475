"""Rows of training policies: at most one for each endpoint."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.learn.policies.domain import Policy
from charkha.learn.tables import policies

_FIELDS = tuple(field.name for field in msgspec.structs.fields(Policy))


async def put(tx: Tx, endpoint_id: UUID, **values: Any) -> None:
    """Set an endpoint's policy; what it has considered stays considered."""
    statement = insert(policies).values(workspace_id=tx.workspace_id, endpoint_id=endpoint_id, **values)
    key = [policies.c.workspace_id, policies.c.endpoint_id]
    await tx.execute(statement.on_conflict_do_update(index_elements=key, set_=values))


async def find(tx: Tx, endpoint_id: UUID) -> Policy | None:
    """An endpoint's policy, if it has one."""
    row = await tx.one(sa.select(policies).where(policies.c.endpoint_id == endpoint_id))
    return _policy(row) if row else None


async def listed(tx: Tx, *, endpoint_ids: Collection[UUID] | None, after: UUID | None, limit: int) -> Page[Policy]:
    """The workspace's policies, those of the newest endpoints first; of `endpoint_ids` only, if given."""
    query = sa.select(*policies.c, policies.c.endpoint_id.label("id")).where(policies.c.workspace_id == tx.workspace_id)
    if endpoint_ids is not None:
        query = query.where(policies.c.endpoint_id == sa.any_(sa.literal(list(endpoint_ids), ARRAY(sa.Uuid))))
    named = query.subquery()
    return await page(tx, sa.select(named), named, _policy, after=after, limit=limit)


async def enabled(tx: Tx) -> list[UUID]:
    """The endpoints whose policy is enabled, in order of their ids."""
    query = sa.select(policies.c.endpoint_id).where(policies.c.enabled).order_by(policies.c.endpoint_id)
    return [row.endpoint_id for row in await tx.all(query)]


async def consider_until(tx: Tx, endpoint_id: UUID, feedback_id: UUID) -> None:
    """Remember that all feedback up to this one has been taken in."""
    await tx.execute(
        policies.update().where(policies.c.endpoint_id == endpoint_id).values(considered_until=feedback_id)
    )


async def disable(tx: Tx, endpoint_id: UUID) -> None:
    """Let an endpoint's policy start nothing any more."""
    await tx.execute(policies.update().where(policies.c.endpoint_id == endpoint_id).values(enabled=False))


def _policy(row: sa.Row[Any]) -> Policy:
    return Policy(**{name: getattr(row, name) for name in _FIELDS})
