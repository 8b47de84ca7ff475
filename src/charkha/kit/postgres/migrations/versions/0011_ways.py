"""Several ways for one variant, engines that are drained, and what the log and the gateways tell of both."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import stamp, system_table

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("variants", sa.Column("alternatives", JSONB, nullable=False, server_default="[]"))
    op.add_column("variants", sa.Column("routing", JSONB, nullable=False, server_default="{}"))
    op.add_column("inferences", sa.Column("engine_model", sa.Text))
    op.add_column("inferences", sa.Column("tries", sa.SmallInteger))
    op.add_column("gateways", sa.Column("engines", JSONB, nullable=False, server_default="{}"))
    system_table(
        "engine_drains",
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        stamp("created_at"),
        key="engine",
    )
    # An operator's request writes it in the transaction of its own audit.
    op.execute("GRANT SELECT, INSERT, DELETE ON engine_drains TO charkha_app")
