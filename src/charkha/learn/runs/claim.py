"""An attempt's right to write to its run: lost for good when a later attempt begins.

A worker that was thought dead may come back; its writes name an attempt that is over, and change nothing.
"""

from typing import Any
from uuid import UUID

from charkha.core.events import CandidateTrained
from charkha.kit.crashpoints import crashpoint
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.lineage import Node, link
from charkha.learn.runs import store
from charkha.learn.runs.domain import Heard, Run, Status

ACTOR = "job:learn.run"


class Superseded(Exception):
    """Another worker has taken the run over, or it has ended."""


class Claim:
    """One attempt at a run. Every method raises Superseded once it is no longer the run's own."""

    def __init__(self, database: Database, events: EventLog, workspace_id: UUID, run: Run) -> None:
        self._database, self._events = database, events
        self.workspace_id, self.run = workspace_id, run

    async def beat(self, heard: Heard) -> bool:
        """Store what has been heard since the last beat; returns whether the run shall be cancelled."""
        points = list(heard.points)
        async with self._database.workspace(self.workspace_id, ACTOR) as tx:
            stop = await store.beat(
                tx,
                self.run.id,
                self.run.attempt,
                step=heard.step,
                steps=heard.steps,
                seconds_left=heard.seconds_left,
            )
            if stop is None:
                raise Superseded
            await store.add_points(tx, self.run.id, points)
        del heard.points[: len(points)]
        return stop

    async def succeed(self, result: dict[str, Any]) -> None:
        """Store the result, its lineage, and the news that there is a candidate: all of it, or nothing."""
        run = self.run
        async with self._database.workspace(self.workspace_id, ACTOR) as tx:
            if not await store.finish(tx, run.id, run.attempt, "succeeded", result=result):
                raise Superseded
            await link(tx, [Node("dataset_version", str(run.dataset_version_id))], Node("run", str(run.id)))
            await self._events.emit(tx, CandidateTrained(run_id=run.id, endpoint_id=run.endpoint_id))
            crashpoint("run.before_done")

    async def end(self, status: Status, error: str | None = None) -> None:
        """End the run without a result."""
        async with self._database.workspace(self.workspace_id, ACTOR) as tx:
            if not await store.finish(tx, self.run.id, self.run.attempt, status, error=error):
                raise Superseded
