"""The registry's part of the snapshot: what each name of a version means to the hot path, for every workspace."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.core.targets import VersionTarget
from charkha.release.tables import aliases, versions

Targets = dict[tuple[UUID, str], VersionTarget]

_SHOWN = ("workspace_id", "id", "name", "number", "engine", "base_model", "adapters", "system_prompt")
_VERSIONS = sa.select(*(versions.c[name] for name in _SHOWN))
_ALIASES = sa.select(aliases.c.workspace_id, aliases.c.name, aliases.c.alias, aliases.c.version_id)


async def load_targets(conn: AsyncConnection) -> Targets:
    """Versions by (workspace, name). Each is called by its id, `name@number` and `name@alias`, and, as the OpenAI
    dialect asks for an adapter on a base, by `<base model>:name@number` and `<base model>:name@alias`."""
    by_id: Targets = {}
    plain: Targets = {}
    for row in await conn.execute(_VERSIONS):
        target = by_id[row.workspace_id, str(row.id)] = _target(row)
        plain[row.workspace_id, f"{row.name}@{row.number}"] = target
    for row in await conn.execute(_ALIASES):
        plain[row.workspace_id, f"{row.name}@{row.alias}"] = by_id[row.workspace_id, str(row.version_id)]
    on_base = {(workspace, f"{target.model}:{name}"): target for (workspace, name), target in plain.items()}
    # A version's own name wins over the long form of another's: names may hold colons.
    return on_base | plain | by_id


def _target(row: sa.Row[Any]) -> VersionTarget:
    adapters = tuple((str(digest), float(weight)) for digest, weight in row.adapters)
    return VersionTarget(row.id, row.engine, row.base_model, adapters, row.system_prompt)
