"""The event log: an event is a row in the transaction of the change it tells of, and so are the jobs that it causes.

Delivery is by job alone; nothing tails the table. A handler's effect and the mark that it was delivered commit
together, so a job that runs twice has one effect.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from charkha.core.events import Event
from charkha.core.ids import uuid7
from charkha.kit.db import Database, Tx, created_at, workspace_table
from charkha.kit.jobs import Jobs

events = workspace_table(
    "events",
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    created_at(),
    app="select, insert",
)
deliveries = workspace_table(
    "deliveries",
    sa.Column("event_id", sa.Uuid, nullable=False),
    sa.Column("handler", sa.Text, nullable=False),
    created_at(),
    sa.PrimaryKeyConstraint("workspace_id", "event_id", "handler"),
    app="select, insert",
)

E = TypeVar("E", bound=Event)
Handler = Callable[[Tx, E], Awaitable[None]]


class EventLog:
    """Who listens to what, and the way to say that something happened."""

    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database, self._jobs = database, jobs
        self._handlers: dict[type[Event], list[tuple[str, bool]]] = {}

    def on(self, kind: type[E], handler: Handler[E], *, coalesce: bool = False) -> None:
        """Call `handler` in a transaction of its own after each event of `kind`.

        `coalesce`: while one call is waiting in a workspace, further events add none; for handlers that look at the
        whole state and not at the one event.
        """
        name = f"on.{kind.topic}.{handler.__qualname__}"
        self._handlers.setdefault(kind, []).append((name, coalesce))

        async def deliver(workspace_id: UUID, *, event_id: str, body: dict[str, Any]) -> None:
            async with self._database.workspace(workspace_id, f"event:{event_id}") as tx:
                if await _first_delivery(tx, UUID(event_id), name):
                    await handler(tx, msgspec.convert(body, kind))

        self._jobs.task(name, deliver)

    async def emit(self, tx: Tx, event: Event) -> None:
        """Write the event and enqueue its handlers, in the transaction of the change."""
        event_id, body = uuid7(), msgspec.to_builtins(event)
        await tx.insert(events, id=event_id, topic=event.topic, body=body, actor=tx.actor)
        for name, coalesce in self._handlers.get(type(event), []):
            once = f"{name}:{tx.workspace_id}" if coalesce else None
            await self._jobs.defer(tx, name, once=once, event_id=str(event_id), body=body)


async def _first_delivery(tx: Tx, event_id: UUID, handler: str) -> bool:
    mark = insert(deliveries).values(workspace_id=tx.workspace_id, event_id=event_id, handler=handler)
    return await tx.execute(mark.on_conflict_do_nothing()) == 1
