"""The first tables of evaluate: suites, evaluations on them, and the outcomes for each example."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import stamp, workspace_table


def upgrade() -> None:
    """Make evaluate's tables: a suite before what was measured on it."""
    suites()
    evaluation_outcomes()
    evaluations()


def suites() -> None:
    """What an endpoint's candidates are measured on."""
    workspace_table(
        "suites",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.Uuid, nullable=False),
        sa.Column("dataset_version_id", sa.Uuid, nullable=False),
        stamp("created_at"),
        unique=[("name",)],
        app="select, insert",
    )


def evaluation_outcomes() -> None:
    """A version's scores and answers on a suite, kept for the next comparison."""
    workspace_table(
        "evaluation_outcomes",
        sa.Column("suite_id", sa.Uuid, nullable=False),
        sa.Column("version_id", sa.Uuid, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("scores", JSONB, nullable=False),
        sa.Column("answers", JSONB, nullable=False),
        stamp("created_at"),
        key=("suite_id", "version_id", "metric"),
        references={"suite_id": "suites"},
        app="select, insert",
    )


def evaluations() -> None:
    """A candidate on a suite, against the incumbent where there is one."""
    workspace_table(
        "evaluations",
        sa.Column("suite_id", sa.Uuid, nullable=False),
        sa.Column("candidate_version_id", sa.Uuid, nullable=False),
        sa.Column("incumbent_version_id", sa.Uuid),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("done", sa.Integer, nullable=False, server_default="0"),
        sa.Column("total", sa.Integer),
        sa.Column("scorecard", JSONB),
        sa.Column("error", sa.Text),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        stamp("created_at"),
        sa.Index("ix_evaluations_suite", "workspace_id", "suite_id", "id"),
        references={"suite_id": "suites"},
        app="select, insert, update",
    )
