"""Engines that are kept in the database, each with the sealed key of its provider."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "engines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("options", JSONB(), nullable=False),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("key_ends", sa.Text(), nullable=True),
        sa.Column("key_set_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("num_nulls(key_sealed, key_ends, key_set_at) IN (0, 3)", name=op.f("ck_engines_key_whole")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engines")),
        sa.UniqueConstraint("name", name=op.f("uq_engines_name")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON engines TO charkha_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON engines TO charkha_system")
