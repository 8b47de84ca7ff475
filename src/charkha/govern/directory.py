"""Organisations and workspaces: the things that no workspace contains, and the first ones of an installation.

Boundary: the only writer of both tables, with the role that crosses workspaces.
"""

from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.core.errors import Invalid
from charkha.core.ids import uuid7
from charkha.govern.keys import KeyService, NewKey
from charkha.govern.tables import audit, organisations, workspaces
from charkha.kit.db import Database
from charkha.kit.snapshot import snapshot_version
from charkha.kit.system import system

DEFAULT = "default"
LOGS = ("inferences", "inference_bodies")


class FirstRun(NamedTuple):
    """What a new installation is given: its first workspace, the operator's key and a key for applications."""

    workspace_id: UUID
    operator: NewKey
    application: NewKey


class Directory:
    """Makes organisations and workspaces, and finds them by name."""

    def __init__(self, database: Database, keys: KeyService) -> None:
        self._database, self._keys = database, keys

    async def prepare(self) -> None:
        """Make what must exist before anything is served: the snapshot's version row and partitions of the logs."""
        async with system(self._database) as conn:
            await conn.execute(insert(snapshot_version).values(only=True, version=1).on_conflict_do_nothing())
            for table in LOGS:
                await conn.execute(sa.select(sa.func.charkha_ensure_partitions(table, 3)))

    async def first_run(self) -> FirstRun | None:
        """Make the first organisation, workspace and keys, or return None where there are some already."""
        async with system(self._database) as conn:
            await conn.execute(sa.text("SELECT pg_advisory_xact_lock(8420002)"))
            if await conn.scalar(sa.select(organisations.c.id).limit(1)):
                return None
            organisation_id, workspace_id = uuid7(), uuid7()
            await conn.execute(organisations.insert().values(id=organisation_id, name=DEFAULT))
            await _add_workspace(conn, organisation_id, workspace_id, DEFAULT, "system:first-run")
        async with self._database.workspace(workspace_id, "system:first-run") as tx:
            operator = await self._keys.create(tx, name="operator", role="owner")
            application = await self._keys.create(tx, name="first application", role="admin")
        return FirstRun(workspace_id, operator, application)

    async def create_workspace(self, organisation_id: UUID, name: str, actor: str) -> UUID:
        """The workspace of that name in an organisation, made if it is not there."""
        if not 1 <= len(name) <= 64 or not name.replace("-", "").replace("_", "").isalnum():
            raise Invalid(
                f"'{name[:64]}' is no name for a workspace.",
                param="name",
                remedy="Use 1 to 64 letters, digits, '-' and '_'.",
            )
        async with system(self._database) as conn:
            found = await conn.scalar(_by_name(organisation_id, name))
            if found:
                return UUID(str(found))
            workspace_id = uuid7()
            await _add_workspace(conn, organisation_id, workspace_id, name, actor)
            await conn.execute(sa.select(sa.func.charkha_bump_snapshot()))
            return workspace_id

    async def workspaces(self, organisation_id: UUID) -> list[dict[str, Any]]:
        """The workspaces of an organisation, by name."""
        query = sa.select(workspaces.c.id, workspaces.c.name, workspaces.c.created_at)
        async with system(self._database) as conn:
            rows = await conn.execute(
                query.where(workspaces.c.organisation_id == organisation_id).order_by(workspaces.c.name)
            )
            return [dict(row._mapping) for row in rows]


def _by_name(organisation_id: UUID, name: str) -> sa.Select[Any]:
    return sa.select(workspaces.c.id).where(workspaces.c.organisation_id == organisation_id, workspaces.c.name == name)


async def _add_workspace(
    conn: AsyncConnection, organisation_id: UUID, workspace_id: UUID, name: str, actor: str
) -> None:
    await conn.execute(workspaces.insert().values(id=workspace_id, organisation_id=organisation_id, name=name))
    row = {"actor": actor, "action": "workspace.created", "target_kind": "workspace", "target_id": str(workspace_id)}
    await conn.execute(audit.insert().values(workspace_id=workspace_id, id=uuid7(), detail={"name": name}, **row))
