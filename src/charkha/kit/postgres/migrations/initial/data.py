"""The first tables of data: data sets, their versions, and where each example of a version came from."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import stamp, workspace_table


def upgrade() -> None:
    """Make data's tables: a data set, then its versions, then their examples."""
    datasets()
    dataset_versions()
    dataset_examples()


def datasets() -> None:
    """Data sets, by name."""
    workspace_table(
        "datasets",
        sa.Column("name", sa.Text, nullable=False),
        stamp("created_at"),
        unique=[("name",)],
        app="select, insert",
    )


def dataset_versions() -> None:
    """Versions of a data set, each a blob that never changes."""
    workspace_table(
        "dataset_versions",
        sa.Column("dataset_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("blob", sa.Text, nullable=False),
        sa.Column("examples", sa.Integer, nullable=False),
        sa.Column("labels", JSONB),
        sa.Column("report", JSONB, nullable=False),
        stamp("created_at"),
        unique=[("dataset_id", "digest"), ("dataset_id", "number")],
        references={"dataset_id": "datasets"},
        app="select, insert",
    )


def dataset_examples() -> None:
    """Which inference and which person each example of a version came from."""
    workspace_table(
        "dataset_examples",
        sa.Column("version_id", sa.Uuid, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("text_hash", sa.LargeBinary, nullable=False),
        sa.Column("inference_id", sa.Uuid),
        sa.Column("subject_id", sa.Text),
        sa.Index(
            "ix_dataset_examples_subject",
            "workspace_id",
            "subject_id",
            postgresql_where=sa.text("subject_id IS NOT NULL"),
        ),
        key=("version_id", "position"),
        references={"version_id": "dataset_versions"},
        app="select, insert",
    )
