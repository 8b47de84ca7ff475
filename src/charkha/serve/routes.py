"""The immutable picture of all endpoints and their live plans, and what the `model` of a request means in it.

Boundary: `load` is the only reader of endpoints that crosses workspaces; everything after it is memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.core.errors import NotFound
from charkha.core.targets import VersionTarget
from charkha.kit.snapshot import Snapshots
from charkha.serve.caches.policy import CachePolicy
from charkha.serve.domain import Variant, bounds
from charkha.serve.store import plan_of, variant_of
from charkha.serve.tables import endpoints, plans, variants
from charkha.serve.targets import Blend, Route, Target

ROUTES, VERSIONS = "routes", "versions"

Routes = Mapping[tuple[UUID, str], Route]
Versions = Mapping[tuple[UUID, str], VersionTarget]


class ModelName(NamedTuple):
    """A name that `model` may have, and the id (a UUIDv7, so also the time) of what stands behind it."""

    name: str
    id: UUID | None


async def load(conn: AsyncConnection) -> Routes:
    """Read the live plan of every endpoint; for the snapshot."""
    query = (
        sa.select(plans, *(endpoints.c[name] for name in ("name", "keeps_content", "cache", "cache_epoch")))
        .join(endpoints, _same_workspace(plans) & (plans.c.id == endpoints.c.live_plan_id))
        .where(endpoints.c.deleted_at.is_(None))
    )
    rows = (await conn.execute(query)).all()
    named = await _variants(conn, {UUID(share["variant_id"]) for row in rows for share in row.shares})
    return {(row.workspace_id, row.name): _route(row, named) for row in rows}


async def _variants(conn: AsyncConnection, ids: set[UUID]) -> dict[tuple[UUID, UUID], Variant]:
    query = sa.select(variants).where(variants.c.id == sa.any_(sa.literal(list(ids), ARRAY(sa.Uuid))))
    return {(row.workspace_id, row.id): variant_of(row) for row in await conn.execute(query)}


def _same_workspace(table: sa.Table) -> sa.ColumnElement[bool]:
    return table.c.workspace_id == endpoints.c.workspace_id


def _route(row: sa.Row[Any], named: Mapping[tuple[UUID, UUID], Variant]) -> Route:
    plan = plan_of(row)
    ranges = bounds(plan.shares)
    # A rollout compares variants by what befalls them: one whose answers are there already would look the better one.
    cache = msgspec.convert(row.cache, CachePolicy | None) if len(ranges) == 1 else None
    return Route(
        endpoint_id=plan.endpoint_id,
        name=row.name,
        plan_id=plan.id,
        number=plan.number,
        keeps_content=row.keeps_content,
        candidate_id=plan.shares[-1].variant_id,
        targets=tuple((bound, _target(row, named[row.workspace_id, each], cache)) for bound, each in ranges),
        cache_epoch=row.cache_epoch if row.cache is not None else None,
    )


def _target(row: sa.Row[Any], variant: Variant, cache: CachePolicy | None) -> Target:
    return Target(
        engine=variant.engine,
        model=variant.model,
        adapters=tuple(Blend(each.digest, each.weight, each.version_id) for each in variant.adapters),
        system_prompt=variant.system_prompt,
        parameters=variant.parameters,
        version_id=variant.version_id,
        endpoint=row.name,
        endpoint_id=variant.endpoint_id,
        plan_id=row.id,
        plan_number=row.number,
        variant=variant.name,
        variant_id=variant.id,
        keeps_content=row.keeps_content,
        cache=cache,
        cache_epoch=row.cache_epoch,
    )


def cache_epochs(snapshots: Snapshots) -> dict[UUID, int]:
    """The epochs of the endpoints, of all workspaces, that give answers again; for whoever forgets what is outdated."""
    routes: Routes = snapshots.get(ROUTES)
    return {each.endpoint_id: each.cache_epoch for each in routes.values() if each.cache_epoch is not None}


class Resolver:
    """Tells where a request for a model goes: an endpoint, else a registered version, else a base model.

    `base_models` maps the names of the models that engines bring along to (engine, model).
    """

    def __init__(self, snapshots: Snapshots, base_models: Mapping[str, tuple[str, str]]) -> None:
        self._snapshots = snapshots
        self._base = {name: Target(engine, model) for name, (engine, model) in base_models.items()}

    def resolve(self, workspace_id: UUID, model: str, unit: str) -> Target:
        """The target of `model` for a unit (who keeps the variant that they were given). Raises NotFound."""
        routes: Routes = self._snapshots.get(ROUTES)
        route = routes.get((workspace_id, model))
        if route is not None:
            return route.choose(unit)
        versions: Versions = self._snapshots.get(VERSIONS)
        version = versions.get((workspace_id, model))
        if version is not None:
            return Target.of_version(version)
        if model in self._base:
            return self._base[model]
        raise unknown(model)

    def models(self, workspace_id: UUID) -> Sequence[ModelName]:
        """Every name that `model` may have in a workspace: endpoints, then versions and aliases, then base models."""
        return [*self._names(workspace_id), *(ModelName(name, None) for name in self._base)]

    def _names(self, workspace_id: UUID) -> Iterator[ModelName]:
        routes: Routes = self._snapshots.get(ROUTES)
        versions: Versions = self._snapshots.get(VERSIONS)
        yield from (
            ModelName(name, each.endpoint_id) for (owner, name), each in routes.items() if owner == workspace_id
        )
        for (owner, name), version in versions.items():
            if owner == workspace_id and name != str(version.version_id):
                yield ModelName(name, version.version_id)


def unknown(model: str) -> NotFound:
    """The error for a model that is not there, or that another workspace has."""
    return NotFound(
        f"There is no model '{model[:200]}' in this workspace.",
        param="model",
        code="model_not_found",
        remedy="GET /v1/models lists them; `charkha endpoints create` makes an endpoint.",
    )
