"""The table of prices: rows are added, never changed, so that what was charged can always be explained."""

import sqlalchemy as sa

from charkha.kit.db import created_at, workspace_table

prices = workspace_table(
    "prices",
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Uuid, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("prompt", sa.BigInteger, nullable=False),
    sa.Column("completion", sa.BigInteger, nullable=False),
    sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
    sa.Column("valid_until", sa.DateTime(timezone=True)),
    created_at(),
    app="select, insert",
)
