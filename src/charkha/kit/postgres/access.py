"""What each role may do with each table, as SQL: the one place that writes grants and row-level security policies.

The policies themselves are made by the database function `charkha_protect` of the first migration.
Read `docs/decisions/0003-tenancy-in-the-database.md` for why each line of it is there.
"""

import sqlalchemy as sa


def protect(table: sa.Table) -> list[str]:
    """The statements that give a table its policies and grants, from its columns and its `info`.

    `info["app"]`, `info["ingest"]` and `info["system"]` list privileges; the system role may do anything by default.
    """
    name = table.name
    statements = [f"SELECT charkha_protect('{name}')"] if "workspace_id" in table.c else []
    for role, default in (("app", ""), ("ingest", ""), ("system", "select, insert, update, delete")):
        privileges = table.info.get(role, default)
        if privileges:
            statements.append(f"GRANT {privileges.upper()} ON {name} TO charkha_{role}")
    return statements
