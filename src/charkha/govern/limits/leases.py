"""Leases in the database: a process takes part of a window before it spends, and hands back what it does not need.

Boundary: the only writer of `limit_windows` and `limit_leases` but for the two functions of the schema: the log's trigger
sums what was spent, and the shipper buries holders that died. A window's row is always locked before a lease's.
"""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charkha.govern.limits import domain
from charkha.govern.limits.domain import Limit, Span
from charkha.govern.limits.tables import limit_leases, limit_windows, limits
from charkha.kit.db import Database, Tx

ACTOR = "system:limits"


class Granted(NamedTuple):
    """What a holder has of a window in all, and how much of the window is still free."""

    held: int
    free: int


class Leases:
    """The leases of one process. `holder` is also the name of its directory in the spool, by which its end is known."""

    def __init__(self, database: Database, holder: str) -> None:
        self.holder, self._database = holder, database

    async def grant(self, limit: Limit, span: Span, need: int, size: int) -> Granted:
        """Lease more of a window: `need` units if they are there, up to `size`. Raises Unavailable without a database."""
        async with self._database.workspace(limit.workspace_id, ACTOR) as tx:
            amount = await tx.scalar(sa.select(limits.c.amount).where(_of(limits, tx, id=limit.id)))
            if amount is None:  # it was deleted a moment ago
                return Granted(0, 0)
            leased = await self._locked(tx, limit, span)
            units = domain.grant(amount, leased, need, size)
            held = await self._hold(tx, limit, span, units)
            where = _of(limit_windows, tx, limit_id=limit.id, start=span.start)
            await tx.execute(limit_windows.update().where(where).values(leased=leased + units))
        return Granted(held, max(0, amount - leased - units))

    async def give_back(self, limit: Limit, start: int, units: int) -> None:
        """Hand back units that will not be spent; none where the books of that window are closed."""
        async with self._database.workspace(limit.workspace_id, ACTOR) as tx:
            window = _of(limit_windows, tx, limit_id=limit.id, start=start)
            await tx.execute(sa.select(limit_windows.c.leased).where(window).with_for_update())
            lease = _of(limit_leases, tx, limit_id=limit.id, start=start, holder=self.holder)
            enough = limit_leases.c.granted >= units
            if await tx.execute(
                limit_leases.update().where(lease, enough).values(granted=limit_leases.c.granted - units)
            ):
                less = limit_windows.c.leased - units
                await tx.execute(limit_windows.update().where(window).values(leased=less))

    async def _locked(self, tx: Tx, limit: Limit, span: Span) -> int:
        """Units of the window that are gone; its row is ours until the end of the transaction."""
        values = {"workspace_id": tx.workspace_id, "limit_id": limit.id, "start": span.start, "leased": 0}
        if await tx.execute(insert(limit_windows).values(values).on_conflict_do_nothing()):
            await self._forget(tx, limit, span)
        where = _of(limit_windows, tx, limit_id=limit.id, start=span.start)
        return int(await tx.scalar(sa.select(limit_windows.c.leased).where(where).with_for_update()))

    async def _forget(self, tx: Tx, limit: Limit, span: Span) -> None:
        """Close the books of the windows before the last one."""
        before = span.start - (span.end - span.start)
        for table in (limit_leases, limit_windows):
            await tx.execute(table.delete().where(_of(table, tx, limit_id=limit.id), table.c.start < before))

    async def _hold(self, tx: Tx, limit: Limit, span: Span, units: int) -> int:
        row = {"workspace_id": tx.workspace_id, "limit_id": limit.id, "start": span.start, "holder": self.holder}
        statement = insert(limit_leases).values(**row, granted=units)
        more = {"granted": limit_leases.c.granted + units}
        added = statement.on_conflict_do_update(index_elements=[*row], set_=more)
        return int(await tx.scalar(added.returning(limit_leases.c.granted)))


def _of(table: sa.Table, tx: Tx, **values: object) -> sa.ColumnElement[bool]:
    """The condition that a row is of the transaction's workspace and has these values."""
    return sa.and_(table.c.workspace_id == tx.workspace_id, *(table.c[name] == each for name, each in values.items()))
