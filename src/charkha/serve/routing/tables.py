"""The engines that are drained: of the installation, not of a workspace."""

import sqlalchemy as sa

from charkha.kit.db import created_at, system_table

engine_drains = system_table(
    "engine_drains",
    sa.Column("engine", sa.Text, primary_key=True),
    sa.Column("actor", sa.Text, nullable=False),
    created_at(),
    # An operator's request writes it in the transaction of its own audit.
    info={"app": "select, insert, delete"},
)
