"""Tables of endpoints, their variants and plans. A plan is immutable; which one is live is moved by compare-and-swap."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.db import created_at, workspace_table

endpoints = workspace_table(
    "endpoints",
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("labels", JSONB),
    sa.Column("keeps_content", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("live_plan_id", sa.Uuid),
    sa.Column("cache", JSONB(none_as_null=True)),
    sa.Column("cache_epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("deleted_at", sa.DateTime(timezone=True)),
    created_at(),
    sa.Index("uq_endpoints_name", "workspace_id", "name", unique=True, postgresql_where=sa.text("deleted_at IS NULL")),
    app="select, insert, update",
)
variants = workspace_table(
    "variants",
    sa.Column("endpoint_id", sa.Uuid, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version_id", sa.Uuid),
    sa.Column("adapters", JSONB, nullable=False),
    sa.Column("system_prompt", sa.Text),
    sa.Column("parameters", JSONB, nullable=False),
    sa.Column("alternatives", JSONB, nullable=False, server_default="[]"),
    sa.Column("routing", JSONB, nullable=False, server_default="{}"),
    created_at(),
    # `name@number` beside the id: neither ever changes.
    sa.Column("prompt", sa.Text),
    sa.Column("prompt_version_id", sa.Uuid),
    sa.ForeignKeyConstraint(["workspace_id", "endpoint_id"], ["endpoints.workspace_id", "endpoints.id"]),
    sa.ForeignKeyConstraint(
        ["workspace_id", "prompt_version_id"], ["prompt_versions.workspace_id", "prompt_versions.id"]
    ),
    app="select, insert",
)
plans = workspace_table(
    "plans",
    sa.Column("endpoint_id", sa.Uuid, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("shares", JSONB, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("previous_id", sa.Uuid),
    created_at(),
    sa.UniqueConstraint("workspace_id", "endpoint_id", "number"),
    sa.ForeignKeyConstraint(["workspace_id", "endpoint_id"], ["endpoints.workspace_id", "endpoints.id"]),
    app="select, insert",
)
