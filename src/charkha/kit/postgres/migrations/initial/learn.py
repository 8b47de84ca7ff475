"""The first tables of learn: feedback, the policies that start training, and runs with their curves."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import stamp, workspace_table


def upgrade() -> None:
    """Make learn's tables: a run before the points of its curve."""
    feedback()
    runs()
    training_policies()
    run_points()


def feedback() -> None:
    """What people and programs thought of an answer or an episode."""
    workspace_table(
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
        stamp("created_at"),
        sa.Index("ix_feedback_episode", "workspace_id", "episode_id"),
        sa.Index("ix_feedback_inference", "workspace_id", "inference_id"),
        unique=[("idempotency_key",)],
        app="select, insert",
    )


def runs() -> None:
    """Training runs. One candidate at a time is in the making for an endpoint."""
    workspace_table(
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
        stamp("created_at"),
        sa.Index(
            "uq_runs_active",
            "workspace_id",
            "endpoint_id",
            unique=True,
            postgresql_where=sa.text("status IN ('queued', 'running') AND endpoint_id IS NOT NULL"),
        ),
        app="select, insert, update",
    )


def training_policies() -> None:
    """When to train for an endpoint, and how."""
    workspace_table(
        "training_policies",
        sa.Column("endpoint_id", sa.Uuid, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("minimum_examples", sa.Integer, nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("config", JSONB, nullable=False),
        sa.Column("considered_until", sa.Uuid),
        stamp("created_at"),
        key=("endpoint_id",),
        app="select, insert, update, delete",
    )


def run_points() -> None:
    """The curve of a run: a point for each step that was reported."""
    workspace_table(
        "run_points",
        sa.Column("run_id", sa.Uuid, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("loss", sa.Double, nullable=False),
        sa.Column("learning_rate", sa.Double),
        sa.Column("tokens_per_second", sa.Double),
        stamp("at"),
        key=("run_id", "step"),
        references={"run_id": "runs"},
        app="select, insert, update",
    )
