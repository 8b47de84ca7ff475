"""Tables of feedback, of the policies that start training, and of runs with their curves and logs."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.db import created_at, workspace_table

feedback = workspace_table(
    "feedback",
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("inference_id", sa.Uuid),
    sa.Column("episode_id", sa.Text),
    sa.Column("value", sa.Double),
    sa.Column("text", sa.Text),
    sa.Column("other_inference_id", sa.Uuid),
    sa.Column("subject_id", sa.Text),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("body_hash", sa.LargeBinary, nullable=False),
    created_at(),
    sa.UniqueConstraint("workspace_id", "idempotency_key"),
    sa.Index("ix_feedback_inference", "workspace_id", "inference_id"),
    sa.Index("ix_feedback_episode", "workspace_id", "episode_id"),
    app="select, insert",
)
policies = workspace_table(
    "training_policies",
    sa.Column("endpoint_id", sa.Uuid, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("minimum_examples", sa.Integer, nullable=False),
    sa.Column("recipe", sa.Text, nullable=False),
    sa.Column("config", JSONB, nullable=False),
    sa.Column("considered_until", sa.Uuid),
    created_at(),
    sa.PrimaryKeyConstraint("workspace_id", "endpoint_id"),
    app="select, insert, update, delete",
)
runs = workspace_table(
    "runs",
    sa.Column("endpoint_id", sa.Uuid),
    sa.Column("recipe", sa.Text, nullable=False),
    sa.Column("config", JSONB, nullable=False),
    sa.Column("dataset_version_id", sa.Uuid, nullable=False),
    sa.Column("base_model", sa.Text, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("step", sa.Integer, nullable=False, server_default="0"),
    sa.Column("steps", sa.Integer),
    sa.Column("seconds_left", sa.Double),
    sa.Column("error", sa.Text),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("result", JSONB),
    sa.Column("started_at", sa.DateTime(timezone=True)),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    created_at(),
    # One candidate at a time is in the making for an endpoint.
    sa.Index(
        "uq_runs_active",
        "workspace_id",
        "endpoint_id",
        unique=True,
        postgresql_where=sa.text("status IN ('queued', 'running') AND endpoint_id IS NOT NULL"),
    ),
    app="select, insert, update",
)
run_points = workspace_table(
    "run_points",
    sa.Column("run_id", sa.Uuid, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("loss", sa.Double, nullable=False),
    sa.Column("learning_rate", sa.Double),
    sa.Column("tokens_per_second", sa.Double),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.PrimaryKeyConstraint("workspace_id", "run_id", "step"),
    sa.ForeignKeyConstraint(["workspace_id", "run_id"], ["runs.workspace_id", "runs.id"]),
    app="select, insert, update",
)
run_log = workspace_table(
    "run_log",
    sa.Column("run_id", sa.Uuid, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("workspace_id", "run_id", "number"),
    sa.ForeignKeyConstraint(["workspace_id", "run_id"], ["runs.workspace_id", "runs.id"]),
    app="select, insert",
)
