"""Locks by name in the database, held to the end of the transaction: for decisions that must be taken one at a time."""

import sqlalchemy as sa

from charkha.kit.db import Tx


async def exclusively(tx: Tx, name: str) -> None:
    """Wait until no other transaction holds the lock `name` of this workspace, and hold it.

    What was read before may be stale by then: read what the decision stands on afterwards. Whoever takes several
    takes them in one order, say by id.
    """
    key = sa.func.hashtextextended(f"{tx.workspace_id}:{name}", 0)
    await tx.scalar(sa.select(sa.func.pg_advisory_xact_lock(key)))
