"""Tables of suites (what is measured), evaluations (a version on a suite) and their per-example outcomes."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.db import created_at, workspace_table

suites = workspace_table(
    "suites",
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("endpoint_id", sa.Uuid, nullable=False),
    sa.Column("dataset_version_id", sa.Uuid, nullable=False),
    created_at(),
    sa.UniqueConstraint("workspace_id", "name"),
    app="select, insert",
)
evaluations = workspace_table(
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
    created_at(),
    sa.ForeignKeyConstraint(["workspace_id", "suite_id"], ["suites.workspace_id", "suites.id"]),
    sa.Index("ix_evaluations_suite", "workspace_id", "suite_id", "id"),
    sa.Index("ix_evaluations_candidate", "workspace_id", "candidate_version_id", "id"),
    app="select, insert, update",
)
outcomes = workspace_table(
    "evaluation_outcomes",
    sa.Column("suite_id", sa.Uuid, nullable=False),
    sa.Column("version_id", sa.Uuid, nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("scores", JSONB, nullable=False),
    sa.Column("answers", JSONB, nullable=False),
    created_at(),
    sa.PrimaryKeyConstraint("workspace_id", "suite_id", "version_id", "metric"),
    sa.ForeignKeyConstraint(["workspace_id", "suite_id"], ["suites.workspace_id", "suites.id"]),
    app="select, insert",
)
