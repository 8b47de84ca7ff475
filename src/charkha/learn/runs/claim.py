"""An attempt's right to write to its run: lost for good when a later attempt begins.

A worker that was thought dead may come back; its writes name an attempt that is over, and change nothing.
"""

from typing import Any
from uuid import UUID

from charkha.core.events import CandidateTrained
from charkha.kit.crashpoints import crashpoint
from charkha.kit.db import Database, Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.lineage import Node, link
from charkha.learn.runs import store
from charkha.learn.runs.domain import Heard, Run, Status
from charkha.learn.runs.journal import Journal

ACTOR = "job:learn.run"


class Superseded(Exception):
    """Another worker has taken the run over, or it has ended."""


class Claim:
    """One attempt at a run. Every method raises Superseded once it is no longer the run's own.

    What `journal` is told is stored by the next of them.
    """

    def __init__(self, database: Database, events: EventLog, workspace_id: UUID, run: Run) -> None:
        self._database, self._events = database, events
        self.workspace_id, self.run, self.journal = workspace_id, run, Journal()

    async def beat(self, heard: Heard) -> bool:
        """Store what has been heard since the last beat; returns whether the run shall be cancelled."""
        points, lines = list(heard.points), list(self.journal.lines)
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
            await store.add_lines(tx, self.run.id, lines)
        del heard.points[: len(points)]
        self.journal.forget(len(lines))
        return stop

    async def succeed(self, result: dict[str, Any]) -> None:
        """Store the result, its lineage, and the news that there is a candidate: all of it, or nothing."""
        run = self.run
        async with self._database.workspace(self.workspace_id, ACTOR) as tx:
            if not await store.finish(tx, run.id, run.attempt, "succeeded", result=result):
                raise Superseded
            await store.add_lines(tx, run.id, self.journal.ending("The run has succeeded."))
            await link(tx, [Node("dataset_version", str(run.dataset_version_id))], Node("run", str(run.id)))
            await self._events.emit(tx, CandidateTrained(run_id=run.id, endpoint_id=run.endpoint_id))
            crashpoint("run.before_done")

    async def end(self, status: Status, error: str | None = None) -> None:
        """End the run without a result."""
        last = f"The run has failed: {error}" if status == "failed" else f"The run is {status}."
        async with self._database.workspace(self.workspace_id, ACTOR) as tx:
            if not await store.finish(tx, self.run.id, self.run.attempt, status, error=error):
                raise Superseded
            await store.add_lines(tx, self.run.id, self.journal.ending(last))

    async def pause(self, tx: Tx, reason: str) -> None:
        """Say in the run's log, in a transaction that sees to it, why the attempt ends and another will come."""
        if not await store.is_own(tx, self.run.id, self.run.attempt):
            raise Superseded
        await store.add_lines(tx, self.run.id, self.journal.ending(f"The run is put off: {reason}"))
