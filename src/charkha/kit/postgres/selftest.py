"""The start-up self-test: proves on the running database that one workspace cannot read another's rows.

Raises before anything is served; a tenant's data is never trusted to a policy that somebody forgot.
"""

from uuid import uuid4

import sqlalchemy as sa

from charkha.core.errors import Misconfigured
from charkha.kit.db import Database

_REMEDY = "Run `charkha migrate`; if it persists, the schema was changed by hand: compare it with the migrations."

_UNPROTECTED = sa.text(
    """
    SELECT c.relname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id' AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
      AND NOT (c.relrowsecurity AND c.relforcerowsecurity
               AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid))
    """
)
_OPEN_PARTITIONS = sa.text(
    """
    SELECT c.relname FROM pg_class c
    WHERE c.relispartition AND c.relkind IN ('r', 'p')
      AND (has_table_privilege('charkha_app', c.oid, 'SELECT') OR has_table_privilege('charkha_app', c.oid, 'INSERT'))
    """
)
_TOO_MIGHTY = sa.text(
    "SELECT rolname FROM pg_roles WHERE (rolsuper OR rolbypassrls) AND rolname IN "
    "('charkha', 'charkha_owner', 'charkha_app', 'charkha_ingest', 'charkha_system')"
)


async def verify(database: Database) -> None:
    """Run every check; raise Misconfigured naming the first relation or role that is wrong."""
    async with database.begin("charkha_app") as conn:
        for query, complaint in (
            (_UNPROTECTED, "These tables hold workspaces' rows without forced row-level security: {}."),
            (_OPEN_PARTITIONS, "The application role reaches these partitions past their policies: {}."),
            (_TOO_MIGHTY, "These roles are above row-level security: {}."),
        ):
            found = [row[0] for row in await conn.execute(query)]
            if found:
                raise Misconfigured(complaint.format(", ".join(found)), remedy=_REMEDY)
    await _cross_read(database)


async def _cross_read(database: Database) -> None:
    """Write a row in one workspace, look for it from another and from none, and leave no trace."""
    from charkha.kit.lineage import edges

    mine, other = uuid4(), uuid4()
    count = sa.select(sa.func.count()).select_from(edges).where(edges.c.source_kind == "selftest")
    async with database.begin("charkha_app") as conn:
        seen = {}
        for workspace in (str(mine), str(other), ""):
            await conn.execute(sa.select(sa.func.set_config("app.ws", workspace, True)))
            if workspace == str(mine):
                values = {"source_kind": "selftest", "source_id": "a", "target_kind": "selftest", "target_id": "b"}
                await conn.execute(edges.insert().values(workspace_id=mine, **values))
            seen[workspace] = (await conn.execute(count)).scalar_one()
        await conn.rollback()
    if seen != {str(mine): 1, str(other): 0, "": 0}:
        raise Misconfigured("A workspace can read another workspace's rows.", remedy=_REMEDY)
