"""Engines taken out of service for a while, and what each gateway process knows of an engine.

A drained engine gets no new requests; those that it is answering end as they would.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.core.errors import NotFound
from charkha.govern import audit
from charkha.kit.db import Tx
from charkha.kit.snapshot import bump
from charkha.serve.routing.tables import engine_drains

DRAINS = "drains"


class GatewayView(msgspec.Struct, frozen=True):
    """What one gateway process knows of an engine. `breaker` is "closed" where it has asked it nothing yet.

    `first_byte_ms`: the weighted mean of the times to the first byte of an answer; None before the first.
    """

    host: str
    pid: int
    breaker: str = "closed"
    pending: int = 0
    first_byte_ms: float | None = None


class EngineState(msgspec.Struct, frozen=True):
    """Whether an engine is drained, since when and by whom, and how each gateway process finds it."""

    name: str
    drained: bool
    drained_by: str | None
    drained_at: datetime | None
    gateways: Sequence[GatewayView]
    served_from: int | None = None


async def load(conn: AsyncConnection) -> frozenset[str]:
    """The names of the engines that are drained; for the snapshot."""
    return frozenset((await conn.execute(sa.select(engine_drains.c.engine))).scalars())


class Drains:
    """Drains engines and lets them serve again. `engines` are those that there are."""

    def __init__(self, engines: Collection[str]) -> None:
        self._engines = engines

    async def state(self, tx: Tx, engine: str, gateways: Sequence[dict[str, Any]]) -> EngineState:
        """An engine's state; `gateways` are the rows of those that serve, with their engines. Raises NotFound."""
        self._check(engine)
        row = await tx.one(sa.select(engine_drains).where(engine_drains.c.engine == engine))
        views = [
            GatewayView(host=each["host"], pid=each["pid"], **each["engines"].get(engine, {})) for each in gateways
        ]
        return EngineState(engine, row is not None, row and row.actor, row and row.created_at, views)

    async def drain(self, tx: Tx, engine: str) -> int:
        """Send an engine no new requests. Returns the version from which on no gateway does. Raises NotFound."""
        self._check(engine)
        statement = insert(engine_drains).values(engine=engine, actor=tx.actor).on_conflict_do_nothing()
        if await tx.execute(statement):
            await audit.record(tx, "engine.drained", "engine", engine)
        return await bump(tx)

    async def resume(self, tx: Tx, engine: str) -> int:
        """Let an engine serve again; harmless for one that does. Raises NotFound."""
        self._check(engine)
        if await tx.execute(engine_drains.delete().where(engine_drains.c.engine == engine)):
            await audit.record(tx, "engine.resumed", "engine", engine)
        return await bump(tx)

    def _check(self, engine: str) -> None:
        if engine not in self._engines:
            raise NotFound(f"There is no engine '{engine[:200]}'.", remedy=f"There are: {', '.join(self._engines)}.")
