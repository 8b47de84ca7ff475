"""Tables of organisations, workspaces, API keys, sessions of the console and the audit trail."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from charkha.kit.db import created_at, system_table, workspace_table

organisations = system_table(
    "organisations",
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    created_at(),
)
workspaces = system_table(
    "workspaces",
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("organisation_id", sa.Uuid, sa.ForeignKey("organisations.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    created_at(),
    sa.UniqueConstraint("organisation_id", "name"),
)
api_keys = workspace_table(
    "api_keys",
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("scopes", ARRAY(sa.Text)),
    sa.Column("expires_at", sa.DateTime(timezone=True)),
    sa.Column("revoked_at", sa.DateTime(timezone=True)),
    created_at(),
    app="select, insert, update",
)
# The key is in the same workspace: what a session may do is what its key may do, there and nowhere else.
sign_in_links = workspace_table(
    "sign_in_links",
    sa.Column("key_id", sa.Uuid, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    created_at(),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("used_at", sa.DateTime(timezone=True)),
    sa.ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    app="select, insert, update",
)
sessions = workspace_table(
    "sessions",
    sa.Column("key_id", sa.Uuid, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("user_agent", sa.Text, nullable=False),
    created_at(),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("revoked_at", sa.DateTime(timezone=True)),
    sa.ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    app="select, insert, update",
)
audit = workspace_table(
    "audit",
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target_kind", sa.Text, nullable=False),
    sa.Column("target_id", sa.Text, nullable=False),
    sa.Column("detail", JSONB, nullable=False),
    created_at(),
    # What was done to one thing, newest first.
    sa.Index("ix_audit_target", "workspace_id", "target_id", "id"),
    app="select, insert",
    info={"system": "select, insert"},
)
