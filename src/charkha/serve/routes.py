"""The immutable picture of all endpoints and their live plans, and what the `model` of a request means in it.

Boundary: `load` is the only reader of endpoints that crosses workspaces; everything after it is memory.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from charkha.serve.prompts import store as prompt_store
from charkha.serve.prompts.compiled import Compiled
from charkha.serve.routing.domain import PLAIN, Alternative, Reach
from charkha.serve.store import plan_of, variant_of
from charkha.serve.tables import endpoints, plans, variants
from charkha.serve.targets import Blend, Route, Target

ROUTES, VERSIONS = "routes", "versions"

Routes = Mapping[tuple[UUID, str], Route]
Versions = Mapping[tuple[UUID, str], VersionTarget]
Prompts = Mapping[tuple[UUID, UUID], Compiled]


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
    prompts = await prompt_store.compiled(conn, {each.prompt_version_id for each in named.values()} - {None})
    return {(row.workspace_id, row.name): _route(row, named, prompts) for row in rows}


async def _variants(conn: AsyncConnection, ids: set[UUID]) -> dict[tuple[UUID, UUID], Variant]:
    query = sa.select(variants).where(variants.c.id == sa.any_(sa.literal(list(ids), ARRAY(sa.Uuid))))
    return {(row.workspace_id, row.id): variant_of(row) for row in await conn.execute(query)}


def _same_workspace(table: sa.Table) -> sa.ColumnElement[bool]:
    return table.c.workspace_id == endpoints.c.workspace_id


def _route(row: sa.Row[Any], named: Mapping[tuple[UUID, UUID], Variant], prompts: Prompts) -> Route:
    plan = plan_of(row)
    shared = [(bound, named[row.workspace_id, each]) for bound, each in bounds(plan.shares)]
    spoken = [prompts[row.workspace_id, each.prompt_version_id] for _, each in shared if each.prompt_version_id]
    variables = frozenset(name for prompt in spoken for name in prompt.uses)
    # A rollout compares variants by what befalls them: one whose answers are there already would look the better one.
    cache = msgspec.convert(row.cache, CachePolicy | None) if len(shared) == 1 else None
    return Route(
        endpoint_id=plan.endpoint_id,
        name=row.name,
        plan_id=plan.id,
        number=plan.number,
        keeps_content=row.keeps_content,
        candidate_id=plan.shares[-1].variant_id,
        targets=tuple((bound, _target(row, variant, prompts, variables, cache)) for bound, variant in shared),
        cache_epoch=row.cache_epoch if row.cache is not None else None,
    )


def _target(
    row: sa.Row[Any], variant: Variant, prompts: Prompts, variables: frozenset[str], cache: CachePolicy | None
) -> Target:
    routing = PLAIN if variant.routing == PLAIN else variant.routing
    spoken = variant.prompt_version_id
    own = Target(
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
        prompt=prompts[row.workspace_id, spoken] if spoken else None,
        variables=variables,
        reach=Reach(routing.context_tokens, frozenset(routing.tasks)),
        routing=routing,
    )
    if not variant.alternatives:
        return own
    return replace(own, alternatives=tuple(_alternative(own, each) for each in variant.alternatives))


def _alternative(own: Target, way: Alternative) -> Target:
    return replace(
        own,
        engine=way.engine,
        model=way.model,
        parameters=way.parameters,
        adapters=(),
        version_id=None,
        reach=Reach(way.context_tokens, frozenset(way.tasks)),
    )


def cache_epochs(snapshots: Snapshots) -> dict[UUID, int]:
    """The epochs of the endpoints, of all workspaces, that give answers again; for whoever forgets what is outdated."""
    routes: Routes = snapshots.get(ROUTES)
    return {each.endpoint_id: each.cache_epoch for each in routes.values() if each.cache_epoch is not None}


class Resolver:
    """Tells where a request for a model goes: an endpoint, else a registered version, else a base model.

    `base_models` maps the names of the models that engines bring along to (engine, model), as it is at the moment.
    """

    def __init__(self, snapshots: Snapshots, base_models: Mapping[str, tuple[str, str]]) -> None:
        self._snapshots, self._base_models = snapshots, base_models

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
        base = self._base_models.get(model)
        if base is not None:
            return _base_target(*base)
        raise unknown(model)

    def models(self, workspace_id: UUID) -> Sequence[ModelName]:
        """Every name that `model` may have in a workspace: endpoints, then versions and aliases, then base models."""
        return [*self._names(workspace_id), *(ModelName(name, None) for name in self._base_models)]

    def _names(self, workspace_id: UUID) -> Iterator[ModelName]:
        routes: Routes = self._snapshots.get(ROUTES)
        versions: Versions = self._snapshots.get(VERSIONS)
        yield from (
            ModelName(name, each.endpoint_id) for (owner, name), each in routes.items() if owner == workspace_id
        )
        for (owner, name), version in versions.items():
            if owner == workspace_id and name != str(version.version_id):
                yield ModelName(name, version.version_id)


@functools.lru_cache(maxsize=1024)
def _base_target(engine: str, model: str) -> Target:
    return Target(engine, model)


def sends_to(routes: Routes, engine: str) -> int:
    """How many endpoints' live plans send traffic to an engine, first or when others fail."""
    return sum(
        any(engine in {way.engine for way in (target, *target.alternatives)} for _, target in route.targets)
        for route in routes.values()
    )


def unknown(model: str) -> NotFound:
    """The error for a model that is not there, or that another workspace has."""
    return NotFound(
        f"There is no model '{model[:200]}' in this workspace.",
        param="model",
        code="model_not_found",
        remedy="GET /v1/models lists them; `charkha endpoints create` makes an endpoint.",
    )
