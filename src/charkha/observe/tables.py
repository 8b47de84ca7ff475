"""The inference log: one row a request, bodies apart, both partitioned by month of their UUIDv7 id; usage by day.

The application role reads the log through its policies and never writes it; the ingest role only inserts.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.db import system_table, workspace_table

inferences = workspace_table(
    "inferences",
    sa.Column("id", sa.Uuid, nullable=False),
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
    # Micro-units of `currency`; both are empty where the model had no price.
    sa.Column("cost", sa.BigInteger),
    sa.Column("currency", sa.Text),
    # {"holder": gateway, "of": [[limit, window's start, units], …]}: what was spent of its leases; empty without limits.
    sa.Column("charges", JSONB),
    # The engine's model, where another way of the variant answered than its own; how often engines were asked.
    sa.Column("engine_model", sa.Text),
    sa.Column("tries", sa.SmallInteger),
    sa.Column("prompt_version_id", sa.Uuid),
    # What the endpoint's cache had (hit, semantic, miss), and what a hit saved, in micro-units of `currency`.
    sa.Column("cache", sa.Text),
    sa.Column("saved", sa.BigInteger),
    sa.PrimaryKeyConstraint("workspace_id", "id"),
    # Lists of one endpoint or one variant, newest first: the id is the time.
    sa.Index("ix_inferences_endpoint", "workspace_id", "endpoint_id", "id"),
    sa.Index("ix_inferences_variant", "workspace_id", "variant_id", "id"),
    # What went wrong, which people look for first and which is rare: the condition is `store.FAILED`, word for word.
    sa.Index(
        "ix_inferences_failed",
        "workspace_id",
        "id",
        postgresql_where=sa.text("status >= 500 OR COALESCE(error_code, '') = 'process_died'"),
    ),
    app="select",
    info={"ingest": "insert"},
    postgresql_partition_by="RANGE (id)",
)
inference_bodies = workspace_table(
    "inference_bodies",
    sa.Column("id", sa.Uuid, nullable=False),
    sa.Column("subject_id", sa.Text),
    sa.Column("version", sa.SmallInteger, nullable=False),
    sa.Column("key_id", sa.Text),
    sa.Column("request", sa.LargeBinary),
    sa.Column("answer", sa.LargeBinary),
    sa.PrimaryKeyConstraint("workspace_id", "id"),
    app="select",
    info={"ingest": "insert"},
    postgresql_partition_by="RANGE (id)",
)
# A trigger on the log keeps these sums, in the transaction of the rows. Without a price the currency is ''.
usage_days = workspace_table(
    "usage_days",
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost", sa.BigInteger, nullable=False),
    # Answers given again, answers that no cache had, and the cost that the former did not have.
    sa.Column("cached", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("missed", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("saved", sa.BigInteger, nullable=False, server_default="0"),
    sa.PrimaryKeyConstraint("workspace_id", "day", "actor", "model", "engine", "currency"),
    app="select",
)
spool_offsets = system_table(
    "spool_offsets",
    sa.Column("segment", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    info={"ingest": "select, insert, update, delete"},
)
