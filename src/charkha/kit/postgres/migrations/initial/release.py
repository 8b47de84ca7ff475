"""The first tables of release: the registry's versions and aliases, and rollouts with every decision that was taken."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import stamp, workspace_table


def upgrade() -> None:
    """Make release's tables: a version before what refers to it, a rollout before its decisions."""
    versions()
    aliases()
    rollouts()
    rollout_decisions()


def versions() -> None:
    """What can be served: a model with its artefacts. A run makes at most one."""
    workspace_table(
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
        stamp("created_at"),
        sa.Index(
            "uq_versions_run", "workspace_id", "run_id", unique=True, postgresql_where=sa.text("run_id IS NOT NULL")
        ),
        unique=[("name", "number")],
        app="select, insert",
    )


def aliases() -> None:
    """Names that move from version to version."""
    workspace_table(
        "aliases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("version_id", sa.Uuid, nullable=False),
        stamp("created_at"),
        key=("name", "alias"),
        references={"version_id": "versions"},
        app="select, insert, update, delete",
    )


def rollouts() -> None:
    """A candidate's way to all of an endpoint's traffic. One rollout at a time moves an endpoint."""
    workspace_table(
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
        stamp("started_at"),
        stamp("step_started_at"),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        stamp("created_at"),
        sa.Index(
            "uq_rollouts_active",
            "workspace_id",
            "endpoint_id",
            unique=True,
            postgresql_where=sa.text("status = 'running'"),
        ),
        references={"candidate_version_id": "versions"},
        app="select, insert, update",
    )


def rollout_decisions() -> None:
    """What was decided about a rollout, why, and on what evidence."""
    workspace_table(
        "rollout_decisions",
        sa.Column("rollout_id", sa.Uuid, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("share", sa.Integer, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", JSONB, nullable=False),
        stamp("created_at"),
        sa.Index("ix_rollout_decisions_rollout", "workspace_id", "rollout_id", "id"),
        references={"rollout_id": "rollouts"},
        app="select, insert",
    )
