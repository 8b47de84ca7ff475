"""The table of engines. It is the installation's: whoever may `system.manage` changes it, for all workspaces."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charkha.kit.db import created_at, system_table

engines = system_table(
    "engines",
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("plugin", sa.Text, nullable=False),
    sa.Column("options", JSONB, nullable=False),
    sa.Column("key_sealed", sa.LargeBinary),
    sa.Column("key_ends", sa.Text),
    sa.Column("key_set_at", sa.DateTime(timezone=True)),
    created_at(),
    sa.CheckConstraint("num_nulls(key_sealed, key_ends, key_set_at) IN (0, 3)", name="key_whole"),
    info={"app": "select, insert, update, delete"},
)
