"""Tables of prompts, their immutable versions, and the runs of their tests."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.db import created_at, workspace_table

prompts = workspace_table(
    "prompts",
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("newest", sa.Integer, nullable=False),
    sa.Column("tests", JSONB, nullable=False),
    created_at(),
    sa.UniqueConstraint("workspace_id", "name"),
    app="select, insert, update",
)
prompt_versions = workspace_table(
    "prompt_versions",
    sa.Column("prompt_id", sa.Uuid, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("messages", JSONB, nullable=False),
    sa.Column("variables", JSONB, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    created_at(),
    sa.UniqueConstraint("workspace_id", "prompt_id", "number"),
    sa.ForeignKeyConstraint(["workspace_id", "prompt_id"], ["prompts.workspace_id", "prompts.id"]),
    app="select, insert",
)
prompt_test_runs = workspace_table(
    "prompt_test_runs",
    sa.Column("prompt_version_id", sa.Uuid, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("passed", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("results", JSONB, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    created_at(),
    sa.ForeignKeyConstraint(
        ["workspace_id", "prompt_version_id"], ["prompt_versions.workspace_id", "prompt_versions.id"]
    ),
    # The last run of a version: the id is the time.
    sa.Index("ix_prompt_test_runs_version", "workspace_id", "prompt_version_id", "id"),
    app="select, insert",
)
