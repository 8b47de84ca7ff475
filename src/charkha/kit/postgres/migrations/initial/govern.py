"""The first tables of govern: organisations, their workspaces, API keys and the audit trail."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from charkha.kit.postgres.migrations.initial.making import (
    foreign_key,
    stamp,
    system_table,
    unique_key,
    workspace_table,
)


def upgrade() -> None:
    """Make govern's tables: an organisation before the workspaces that belong to it."""
    api_keys()
    audit()
    organisations()
    workspaces()


def api_keys() -> None:
    """API keys, by their hash, which no two workspaces share."""
    workspace_table(
        "api_keys",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("scopes", ARRAY(sa.Text)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        stamp("created_at"),
        unique_key("api_keys", "hash"),
        app="select, insert, update",
    )


def audit() -> None:
    """Who did what to what. Even the system role only adds to it."""
    workspace_table(
        "audit",
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target_kind", sa.Text, nullable=False),
        sa.Column("target_id", sa.Text, nullable=False),
        sa.Column("detail", JSONB, nullable=False),
        stamp("created_at"),
        app="select, insert",
        system="select, insert",
    )


def organisations() -> None:
    """Those to whom workspaces belong."""
    system_table(
        "organisations",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        stamp("created_at"),
        unique_key("organisations", "name"),
        key="id",
    )


def workspaces() -> None:
    """The tenants."""
    system_table(
        "workspaces",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("organisation_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        stamp("created_at"),
        foreign_key("workspaces", {"organisation_id": "organisations.id"}),
        unique_key("workspaces", "organisation_id", "name"),
        key="id",
    )
