"""Rows of endpoints, variants and plans. Row-level security keeps each query in the transaction's workspace."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.serve.caches.policy import CachePolicy
from charkha.serve.domain import Adapter, Endpoint, Plan, Share, Variant
from charkha.serve.routing.domain import Alternative, Routing
from charkha.serve.tables import endpoints, plans, variants

_STRUCTURED: dict[str, Any] = {"adapters": list[Adapter], "alternatives": list[Alternative], "routing": Routing}
"""What is JSON in a variant's row."""


async def add_endpoint(
    tx: Tx,
    endpoint_id: UUID,
    name: str,
    labels: Sequence[str] | None,
    keeps_content: bool,
    plan_id: UUID,
    cache: CachePolicy | None,
) -> None:
    """Insert an endpoint. Raises sqlalchemy's IntegrityError where the name is taken."""
    row = {"id": endpoint_id, "name": name, "labels": list(labels) if labels else None}
    kept = msgspec.to_builtins(cache)
    await tx.insert(endpoints, **row, keeps_content=keeps_content, live_plan_id=plan_id, cache=kept)


async def add_variant(tx: Tx, variant: Variant) -> None:
    """Insert a variant."""
    values = {field: getattr(variant, field) for field in variant.__struct_fields__ if field != "created_at"}
    await tx.insert(variants, **{**values, **msgspec.to_builtins({each: values[each] for each in _STRUCTURED})})


async def add_plan(tx: Tx, plan: Plan) -> None:
    """Insert a plan."""
    values = {field: getattr(plan, field) for field in plan.__struct_fields__}
    del values["created_at"], values["served_from"]
    await tx.insert(plans, **{**values, "shares": msgspec.to_builtins(plan.shares)})


async def endpoint(tx: Tx, endpoint_id: UUID) -> Endpoint | None:
    """A living endpoint by id, without its plan and variants."""
    row = await tx.one(_living(tx).where(endpoints.c.id == endpoint_id))
    return _endpoint(row) if row else None


async def endpoint_named(tx: Tx, name: str) -> Endpoint | None:
    """A living endpoint by name, without its plan and variants."""
    row = await tx.one(_living(tx).where(endpoints.c.name == name))
    return _endpoint(row) if row else None


async def listed(tx: Tx, *, after: UUID | None, limit: int) -> Page[Endpoint]:
    """Living endpoints, newest first."""
    return await page(tx, _living(tx), endpoints, _endpoint, after=after, limit=limit)


async def change(tx: Tx, endpoint_id: UUID, **values: Any) -> bool:
    """Update columns of a living endpoint; whether there was one."""
    where = (
        endpoints.c.workspace_id == tx.workspace_id,
        endpoints.c.id == endpoint_id,
        endpoints.c.deleted_at.is_(None),
    )
    return await tx.execute(endpoints.update().where(*where).values(**values)) == 1


async def forget_answers(tx: Tx, endpoint_id: UUID | None) -> None:
    """Begin a new epoch of the cache of an endpoint, or of all endpoints of the workspace."""
    statement = endpoints.update().where(endpoints.c.workspace_id == tx.workspace_id, endpoints.c.deleted_at.is_(None))
    if endpoint_id is not None:
        statement = statement.where(endpoints.c.id == endpoint_id)
    await tx.execute(statement.values(cache_epoch=endpoints.c.cache_epoch + 1))


async def move(tx: Tx, endpoint_id: UUID, expected_plan_id: UUID, plan_id: UUID) -> bool:
    """Make a plan live if the expected one still is: of two at a time, one wins and the other finds nothing."""
    where = (
        endpoints.c.workspace_id == tx.workspace_id,
        endpoints.c.id == endpoint_id,
        endpoints.c.deleted_at.is_(None),
    )
    swap = endpoints.update().where(*where, endpoints.c.live_plan_id == expected_plan_id)
    return await tx.execute(swap.values(live_plan_id=plan_id)) == 1


async def variants_of(tx: Tx, endpoint_id: UUID) -> list[Variant]:
    """The variants of an endpoint, the oldest first."""
    query = sa.select(variants).where(variants.c.workspace_id == tx.workspace_id, variants.c.endpoint_id == endpoint_id)
    return [variant_of(row) for row in await tx.all(query.order_by(variants.c.id))]


async def variants_page(
    tx: Tx, endpoint_id: UUID, *, ids: Collection[UUID] | None, after: UUID | None, limit: int
) -> Page[Variant]:
    """The variants of an endpoint, newest first; of `ids` only, if given."""
    query = sa.select(variants).where(variants.c.workspace_id == tx.workspace_id, variants.c.endpoint_id == endpoint_id)
    if ids is not None:
        query = query.where(*_among(tx, variants, ids))
    return await page(tx, query, variants, variant_of, after=after, limit=limit)


async def variants_by_id(tx: Tx, ids: Collection[UUID]) -> dict[UUID, Variant]:
    """Those of `ids` that there are."""
    return {row.id: variant_of(row) for row in await tx.all(sa.select(variants).where(*_among(tx, variants, ids)))}


async def plans_by_id(tx: Tx, ids: Collection[UUID]) -> dict[UUID, Plan]:
    """Those of `ids` that there are."""
    return {row.id: plan_of(row) for row in await tx.all(sa.select(plans).where(*_among(tx, plans, ids)))}


async def variant(tx: Tx, variant_id: UUID) -> Variant | None:
    """A variant by id."""
    row = await tx.one(
        sa.select(variants).where(variants.c.workspace_id == tx.workspace_id, variants.c.id == variant_id)
    )
    return variant_of(row) if row else None


async def plan(tx: Tx, plan_id: UUID) -> Plan | None:
    """A plan by id."""
    row = await tx.one(sa.select(plans).where(plans.c.workspace_id == tx.workspace_id, plans.c.id == plan_id))
    return plan_of(row) if row else None


async def plans_of(tx: Tx, endpoint_id: UUID, *, after: UUID | None, limit: int) -> Page[Plan]:
    """The plans that an endpoint has had, newest first."""
    query = sa.select(plans).where(plans.c.workspace_id == tx.workspace_id, plans.c.endpoint_id == endpoint_id)
    return await page(tx, query, plans, plan_of, after=after, limit=limit)


def variant_of(row: sa.Row[Any]) -> Variant:
    """A row of `variants` as a value."""
    columns = {field: getattr(row, field) for field in Variant.__struct_fields__}
    return Variant(**{**columns, **{each: msgspec.convert(columns[each], kind) for each, kind in _STRUCTURED.items()}})


def plan_of(row: sa.Row[Any]) -> Plan:
    """A row of `plans` as a value."""
    columns = {field: getattr(row, field) for field in Plan.__struct_fields__ if field != "served_from"}
    return Plan(**{**columns, "shares": msgspec.convert(row.shares, list[Share])})


def _endpoint(row: sa.Row[Any]) -> Endpoint:
    cache = msgspec.convert(row.cache, CachePolicy | None)
    return Endpoint(row.id, row.name, row.labels, row.keeps_content, row.live_plan_id, row.created_at, cache=cache)


def _among(tx: Tx, table: sa.Table, ids: Collection[UUID]) -> tuple[sa.ColumnElement[bool], ...]:
    """The workspace's rows of `ids`: one parameter, however many ids."""
    return table.c.workspace_id == tx.workspace_id, table.c.id == sa.any_(sa.literal(list(ids), ARRAY(sa.Uuid)))


def _living(tx: Tx) -> sa.Select[Any]:
    return sa.select(endpoints).where(endpoints.c.workspace_id == tx.workspace_id, endpoints.c.deleted_at.is_(None))
