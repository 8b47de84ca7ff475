"""Tables of the registry (versions, aliases) and of rollouts with every decision that was taken."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.db import created_at, workspace_table

versions = workspace_table(
    "versions",
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("base_model", sa.Text, nullable=False),
    sa.Column("base_hash", sa.Text),
    sa.Column("endpoint_id", sa.Uuid),
    sa.Column("run_id", sa.Uuid),
    sa.Column("dataset_version_id", sa.Uuid),
    sa.Column("adapters", JSONB, nullable=False),
    sa.Column("artefacts", JSONB, nullable=False),
    sa.Column("system_prompt", sa.Text),
    sa.Column("detail", JSONB, nullable=False),
    created_at(),
    sa.UniqueConstraint("workspace_id", "name", "number"),
    sa.Index("uq_versions_run", "workspace_id", "run_id", unique=True, postgresql_where=sa.text("run_id IS NOT NULL")),
    # Names by how they begin, byte by byte: an index in the database's own order cannot tell.
    sa.Index("ix_versions_prefix", "workspace_id", "name", postgresql_ops={"name": "text_pattern_ops"}),
    app="select, insert",
)
aliases = workspace_table(
    "aliases",
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("alias", sa.Text, nullable=False),
    sa.Column("version_id", sa.Uuid, nullable=False),
    sa.PrimaryKeyConstraint("workspace_id", "name", "alias"),
    sa.ForeignKeyConstraint(["workspace_id", "version_id"], ["versions.workspace_id", "versions.id"]),
    created_at(),
    sa.Index("ix_aliases_version", "workspace_id", "version_id"),
    app="select, insert, update, delete",
)
rollouts = workspace_table(
    "rollouts",
    sa.Column("endpoint_id", sa.Uuid, nullable=False),
    sa.Column("candidate_version_id", sa.Uuid, nullable=False),
    sa.Column("candidate_variant_id", sa.Uuid, nullable=False),
    sa.Column("baseline_variant_id", sa.Uuid, nullable=False),
    sa.Column("baseline_plan_id", sa.Uuid, nullable=False),
    sa.Column("plan_id", sa.Uuid, nullable=False),
    sa.Column("evaluation_id", sa.Uuid),
    sa.Column("steps", JSONB, nullable=False),
    sa.Column("share", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("rules", JSONB, nullable=False),
    sa.Column("judgement", JSONB),
    sa.Column("reason", sa.Text),
    sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("step_started_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    created_at(),
    sa.ForeignKeyConstraint(["workspace_id", "candidate_version_id"], ["versions.workspace_id", "versions.id"]),
    # One rollout at a time moves an endpoint.
    sa.Index(
        "uq_rollouts_active", "workspace_id", "endpoint_id", unique=True, postgresql_where=sa.text("status = 'running'")
    ),
    sa.Index("ix_rollouts_candidate", "workspace_id", "candidate_version_id", "id"),
    app="select, insert, update",
)
decisions = workspace_table(
    "rollout_decisions",
    sa.Column("rollout_id", sa.Uuid, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("share", sa.Integer, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", JSONB, nullable=False),
    created_at(),
    sa.ForeignKeyConstraint(["workspace_id", "rollout_id"], ["rollouts.workspace_id", "rollouts.id"]),
    sa.Index("ix_rollout_decisions_rollout", "workspace_id", "rollout_id", "id"),
    app="select, insert",
)
