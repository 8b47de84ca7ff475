"""Alembic's environment: runs revisions on the connection that `migrate.upgrade` opened; autogenerates with policies."""

from collections.abc import Iterable
from typing import Any

from alembic import context
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from charkha.kit.db import metadata
from charkha.kit.postgres.access import protect


def _ours(name: str | None, kind: str, parents: Any) -> bool:
    """Leave procrastinate's objects and the partitions to those who made them."""
    return not (kind == "table" and name and (name.startswith("procrastinate_") or "_p_" in name))


def _add_policies(
    _: MigrationContext, __: str | Iterable[str | None] | Iterable[str], directives: list[ops.MigrationScript]
) -> None:
    """Put each new table's policies and grants beside it."""
    for script in directives:
        assert script.upgrade_ops is not None
        created = [op for op in script.upgrade_ops.ops if isinstance(op, ops.CreateTableOp)]
        for op in created:
            for statement in protect(metadata.tables[op.table_name]):
                script.upgrade_ops.ops.append(ops.ExecuteSQLOp(statement))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_name=_ours,
    process_revision_directives=_add_policies,
    compare_type=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
