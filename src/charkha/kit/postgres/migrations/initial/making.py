"""How a first table is made: its keys and their names, its row-level security, and what each role may do with it."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

_EVERYTHING = "select, insert, update, delete"


def workspace_table(
    name: str,
    *items: sa.schema.SchemaItem,
    app: str,
    ingest: str = "",
    system: str = _EVERYTHING,
    key: tuple[str, ...] = ("id",),
    unique: Iterable[tuple[str, ...]] = (),
    references: Mapping[str, str] | None = None,
    **options: Any,
) -> None:
    """A table whose rows belong to a workspace: row-level security is forced, and every key begins with the workspace.

    Within a workspace, `key` is the primary key, each of `unique` occurs once, and each column of `references` holds
    the id of a row of the table it names. A table with another key than `id` brings the columns of it.
    """
    own = [sa.Column("workspace_id", sa.Uuid, nullable=False)]
    if key == ("id",):
        own.append(sa.Column("id", sa.Uuid, nullable=False))
    op.create_table(
        name,
        *own,
        *items,
        *(
            foreign_key(name, {"workspace_id": f"{other}.workspace_id", column: f"{other}.id"})
            for column, other in (references or {}).items()
        ),
        _primary_key(name, "workspace_id", *key),
        *(unique_key(name, "workspace_id", *columns) for columns in unique),
        **options,
    )
    op.execute(f"SELECT charkha_protect('{name}')")
    _grant(name, app=app, ingest=ingest, system=system)


def system_table(name: str, *items: sa.schema.SchemaItem, key: str, ingest: str = "") -> None:
    """A table of the installation itself, with the column `key` as its primary key: no tenant's role reaches it."""
    op.create_table(name, *items, _primary_key(name, key))
    _grant(name, ingest=ingest, system=_EVERYTHING)


def stamp(name: str) -> sa.Column[Any]:
    """A column that holds when its row was written, by the database's clock."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def unique_key(table: str, *columns: str) -> sa.UniqueConstraint:
    """That these columns together hold the same values at most once."""
    return sa.UniqueConstraint(*columns, name=_name("uq", table, *columns))


def foreign_key(table: str, columns: Mapping[str, str]) -> sa.ForeignKeyConstraint:
    """That these columns of `table` hold what a row has in the columns they are mapped to, such as `runs.id`."""
    return sa.ForeignKeyConstraint([*columns], [*columns.values()], name=_name("fk", table, *columns))


def _primary_key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=_name("pk", table))


def _name(*parts: str) -> str:
    """The name of a constraint, marked as final: a later naming convention leaves it alone."""
    return op.f("_".join(parts))


def _grant(table: str, **privileges: str) -> None:
    """Give each role its privileges on the table; none where the text is empty."""
    for role, allowed in privileges.items():
        if allowed:
            op.execute(f"GRANT {allowed.upper()} ON {table} TO charkha_{role}")
