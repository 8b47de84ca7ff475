"""Prompts, their versions and the runs of their tests; which version a variant speaks with, and a request was made with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import foreign_key, stamp, workspace_table

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    workspace_table(
        "prompts",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("newest", sa.Integer, nullable=False),
        sa.Column("tests", JSONB, nullable=False),
        stamp("created_at"),
        unique=[("name",)],
        app="select, insert, update",
    )
    workspace_table(
        "prompt_versions",
        sa.Column("prompt_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("messages", JSONB, nullable=False),
        sa.Column("variables", JSONB, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        stamp("created_at"),
        unique=[("prompt_id", "number")],
        references={"prompt_id": "prompts"},
        app="select, insert",
    )
    workspace_table(
        "prompt_test_runs",
        sa.Column("prompt_version_id", sa.Uuid, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("passed", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("results", JSONB, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        stamp("created_at"),
        references={"prompt_version_id": "prompt_versions"},
        app="select, insert",
    )
    op.create_index("ix_prompt_test_runs_version", "prompt_test_runs", ["workspace_id", "prompt_version_id", "id"])
    _uses()


def _uses() -> None:
    """Who speaks with a version, and what was asked with one."""
    op.add_column("variants", sa.Column("prompt", sa.Text))
    op.add_column("variants", sa.Column("prompt_version_id", sa.Uuid))
    of = {"workspace_id": "prompt_versions.workspace_id", "prompt_version_id": "prompt_versions.id"}
    constraint = foreign_key("variants", of)
    op.create_foreign_key(str(constraint.name), "variants", "prompt_versions", [*of], ["workspace_id", "id"])
    op.add_column("inferences", sa.Column("prompt_version_id", sa.Uuid))
