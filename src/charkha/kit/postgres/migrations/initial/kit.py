"""The first tables of the kit: events and their deliveries, lineage, and the snapshot with the gateways that serve it."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import stamp, system_table, workspace_table


def upgrade() -> None:
    """Make the kit's tables."""
    deliveries()
    edges()
    events()
    gateways()
    snapshot_version()


def deliveries() -> None:
    """Which handler has had which event: the mark that makes a second delivery harmless."""
    workspace_table(
        "deliveries",
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("handler", sa.Text, nullable=False),
        stamp("created_at"),
        key=("event_id", "handler"),
        app="select, insert",
    )


def edges() -> None:
    """Lineage: from what something was made of to what was made."""
    workspace_table(
        "edges",
        sa.Column("source_kind", sa.Text, nullable=False),
        sa.Column("source_id", sa.Text, nullable=False),
        sa.Column("target_kind", sa.Text, nullable=False),
        sa.Column("target_id", sa.Text, nullable=False),
        stamp("created_at"),
        sa.Index("ix_edges_target", "workspace_id", "target_kind", "target_id"),
        key=("source_kind", "source_id", "target_kind", "target_id"),
        app="select, insert, delete",
    )


def events() -> None:
    """What happened, written with the change itself."""
    workspace_table(
        "events",
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("body", JSONB, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        stamp("created_at"),
        app="select, insert",
    )


def gateways() -> None:
    """The processes that serve, and which version of the snapshot each one has."""
    system_table(
        "gateways",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        key="id",
    )


def snapshot_version() -> None:
    """One row: the newest version of the snapshot. Revision 0001 has the function that bumps it."""
    system_table(
        "snapshot_version",
        sa.Column("only", sa.Boolean, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        key="only",
    )
