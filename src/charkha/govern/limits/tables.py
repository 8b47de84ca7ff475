"""Tables of limits and of what is leased of them. The last two are the gateways' books; people read them through limits.

`replayed` is what the inference log has seen a holder spend, summed by a trigger on the log in the transaction of its
rows, which makes it exact. A holder that died hands back `granted - replayed` once its spool has been shipped.
"""

import sqlalchemy as sa

from charkha.kit.db import created_at, workspace_table

limits = workspace_table(
    "limits",
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Uuid, nullable=False),
    sa.Column("measure", sa.Text, nullable=False),
    sa.Column("window", sa.Text, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.Text, nullable=False, server_default=""),
    created_at(),
    sa.UniqueConstraint("workspace_id", "subject_id", "measure", "window", "currency"),
    app="select, insert, update, delete",
)
limit_windows = workspace_table(
    "limit_windows",
    sa.Column("limit_id", sa.Uuid, nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("leased", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("workspace_id", "limit_id", "start"),
    sa.ForeignKeyConstraint(["workspace_id", "limit_id"], ["limits.workspace_id", "limits.id"], ondelete="CASCADE"),
    app="select, insert, update, delete",
)
limit_leases = workspace_table(
    "limit_leases",
    sa.Column("limit_id", sa.Uuid, nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("granted", sa.BigInteger, nullable=False),
    sa.Column("replayed", sa.BigInteger, nullable=False, server_default="0"),
    sa.PrimaryKeyConstraint("workspace_id", "limit_id", "start", "holder"),
    sa.ForeignKeyConstraint(["workspace_id", "limit_id"], ["limits.workspace_id", "limits.id"], ondelete="CASCADE"),
    # All leases of one holder, when it is dead.
    sa.Index("ix_limit_leases_holder", "holder"),
    app="select, insert, update, delete",
)
