"""The first tables of serve: endpoints, their variants, and the plans that share traffic among them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.postgres.migrations.initial.making import stamp, workspace_table


def upgrade() -> None:
    """Make serve's tables: an endpoint before what belongs to it."""
    endpoints()
    plans()
    variants()


def endpoints() -> None:
    """What an application calls. A name is free again once its endpoint is deleted."""
    workspace_table(
        "endpoints",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("labels", JSONB),
        sa.Column("keeps_content", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("live_plan_id", sa.Uuid),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        stamp("created_at"),
        sa.Index(
            "uq_endpoints_name", "workspace_id", "name", unique=True, postgresql_where=sa.text("deleted_at IS NULL")
        ),
        app="select, insert, update",
    )


def plans() -> None:
    """How an endpoint's traffic is shared among its variants. A plan never changes."""
    workspace_table(
        "plans",
        sa.Column("endpoint_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("shares", JSONB, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("previous_id", sa.Uuid),
        stamp("created_at"),
        unique=[("endpoint_id", "number")],
        references={"endpoint_id": "endpoints"},
        app="select, insert",
    )


def variants() -> None:
    """One way to answer an endpoint's requests: an engine and a model, with what is added to them."""
    workspace_table(
        "variants",
        sa.Column("endpoint_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version_id", sa.Uuid),
        sa.Column("adapters", JSONB, nullable=False),
        sa.Column("system_prompt", sa.Text),
        sa.Column("parameters", JSONB, nullable=False),
        stamp("created_at"),
        references={"endpoint_id": "endpoints"},
        app="select, insert",
    )
