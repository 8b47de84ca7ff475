"""The log of each run, and indices for what people look for: what failed, what was done to a thing, how a name begins."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "run_log",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "run_id"], ["runs.workspace_id", "runs.id"], name=op.f("fk_run_log_workspace_id_run_id")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "run_id", "number", name=op.f("pk_run_log")),
        info={"app": "select, insert"},
    )
    op.execute("SELECT charkha_protect('run_log')")
    op.execute("GRANT SELECT, INSERT ON run_log TO charkha_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON run_log TO charkha_system")
    op.create_index("ix_audit_target", "audit", ["workspace_id", "target_id", "id"])
    op.create_index(
        "ix_versions_prefix", "versions", ["workspace_id", "name"], postgresql_ops={"name": "text_pattern_ops"}
    )
    op.create_index(
        "ix_inferences_failed",
        "inferences",
        ["workspace_id", "id"],
        postgresql_where=sa.text("status >= 500 OR COALESCE(error_code, '') = 'process_died'"),
    )
