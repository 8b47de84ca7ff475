"""The first tables of observe: the inference log, its bodies, and how far the spool was read."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import stamp, system_table, workspace_table


def upgrade() -> None:
    """Make observe's tables."""
    inference_bodies()
    inferences()
    spool_offsets()


def inference_bodies() -> None:
    """What was asked and answered, in partitions by month."""
    workspace_table(
        "inference_bodies",
        sa.Column("subject_id", sa.Text),
        sa.Column("version", sa.SmallInteger, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("request", sa.LargeBinary),
        sa.Column("answer", sa.LargeBinary),
        app="select",
        ingest="insert",
        postgresql_partition_by="RANGE (id)",
    )


def inferences() -> None:
    """The log: one row a request, in partitions by month."""
    workspace_table(
        "inferences",
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.Uuid),
        sa.Column("plan_id", sa.Uuid),
        sa.Column("variant_id", sa.Uuid),
        sa.Column("version_id", sa.Uuid),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("adapters", JSONB, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("episode_id", sa.Text),
        sa.Column("subject_id", sa.Text),
        sa.Column("trace_id", sa.Text),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("finish_reason", sa.Text),
        sa.Column("prompt_tokens", sa.Integer),
        sa.Column("completion_tokens", sa.Integer),
        sa.Column("first_token_ms", sa.Double),
        sa.Column("duration_ms", sa.Double),
        sa.Column("degraded", sa.Text),
        sa.Index("ix_inferences_endpoint", "workspace_id", "endpoint_id", "id"),
        sa.Index("ix_inferences_variant", "workspace_id", "variant_id", "id"),
        app="select",
        ingest="insert",
        postgresql_partition_by="RANGE (id)",
    )


def spool_offsets() -> None:
    """How far each segment of the spool was read."""
    system_table(
        "spool_offsets",
        sa.Column("segment", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        stamp("updated_at"),
        key="segment",
        ingest="select, insert, update, delete",
    )
