"""Tables of data sets, their immutable versions, and which inference and subject each example came from."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.db import created_at, workspace_table

datasets = workspace_table(
    "datasets",
    sa.Column("name", sa.Text, nullable=False),
    created_at(),
    sa.UniqueConstraint("workspace_id", "name"),
    app="select, insert",
)
dataset_versions = workspace_table(
    "dataset_versions",
    sa.Column("dataset_id", sa.Uuid, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("examples", sa.Integer, nullable=False),
    sa.Column("labels", JSONB),
    sa.Column("report", JSONB, nullable=False),
    created_at(),
    sa.UniqueConstraint("workspace_id", "dataset_id", "number"),
    sa.UniqueConstraint("workspace_id", "dataset_id", "digest"),
    sa.ForeignKeyConstraint(["workspace_id", "dataset_id"], ["datasets.workspace_id", "datasets.id"]),
    app="select, insert",
)
dataset_examples = workspace_table(
    "dataset_examples",
    sa.Column("version_id", sa.Uuid, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("text_hash", sa.LargeBinary, nullable=False),
    sa.Column("inference_id", sa.Uuid),
    sa.Column("subject_id", sa.Text),
    sa.PrimaryKeyConstraint("workspace_id", "version_id", "position"),
    sa.ForeignKeyConstraint(["workspace_id", "version_id"], ["dataset_versions.workspace_id", "dataset_versions.id"]),
    # Erasure asks which examples came from a person.
    sa.Index(
        "ix_dataset_examples_subject", "workspace_id", "subject_id", postgresql_where=sa.text("subject_id IS NOT NULL")
    ),
    app="select, insert",
)
