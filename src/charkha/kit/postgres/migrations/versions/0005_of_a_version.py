"""Indices for what is asked of a version: its evaluations, its rollouts, the aliases that point at it."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("ix_evaluations_candidate", "evaluations", ["workspace_id", "candidate_version_id", "id"])
    op.create_index("ix_rollouts_candidate", "rollouts", ["workspace_id", "candidate_version_id", "id"])
    op.create_index("ix_aliases_version", "aliases", ["workspace_id", "version_id"])
