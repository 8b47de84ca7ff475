"""What each role may do with each table, as SQL: the one place that writes grants and row-level security policies.

Read `docs/decisions/0003-tenancy-in-the-database.md` for why each line is there.
"""

import sqlalchemy as sa

WORKSPACE = "nullif(current_setting('app.ws', true), '')::uuid"


def protect(table: sa.Table) -> list[str]:
    """The statements that give a table its policies and grants, from its columns and its `info`.

    `info["app"]`, `info["ingest"]` and `info["system"]` list privileges; the system role may do anything by default.
    """
    name = table.name
    statements = _policies(name, table.info) if "workspace_id" in table.c else []
    for role, default in (("app", ""), ("ingest", ""), ("system", "select, insert, update, delete")):
        privileges = table.info.get(role, default)
        if privileges:
            statements.append(f"GRANT {privileges.upper()} ON {name} TO charkha_{role}")
    return statements


def _policies(name: str, info: dict[str, str]) -> list[str]:
    """Row-level security is forced, so the owner needs a policy too: without one a back-fill changes 0 rows silently."""
    policies = [
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY own_workspace ON {name} TO charkha_app "
        f"USING (workspace_id = {WORKSPACE}) WITH CHECK (workspace_id = {WORKSPACE})",
        f"CREATE POLICY owner_all ON {name} TO charkha_owner USING (true) WITH CHECK (true)",
        f"CREATE POLICY system_all ON {name} TO charkha_system USING (true) WITH CHECK (true)",
    ]
    if "ingest" in info:
        policies.append(f"CREATE POLICY ingest_insert ON {name} FOR INSERT TO charkha_ingest WITH CHECK (true)")
    return policies
