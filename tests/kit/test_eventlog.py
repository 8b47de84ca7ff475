"""Events and jobs share the fate of the transaction that wrote them, and have one effect however often they run."""

import asyncio
from uuid import UUID

import pytest
import sqlalchemy as sa

from charkha.core.events import FeedbackGathered, PlanMoved
from charkha.core.ids import uuid7
from charkha.kit.db import Database, Tx
from charkha.kit.eventlog import EventLog, deliveries, events
from charkha.kit.jobs import Jobs
from charkha.kit.lineage import Node, link, made_of

pytestmark = pytest.mark.anyio


async def _work(jobs: Jobs, until: asyncio.Event) -> None:
    working = asyncio.create_task(jobs.work("events", concurrency=2))
    try:
        await asyncio.wait_for(until.wait(), 20)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_handler_runs_in_the_events_workspace(database: Database, jobs: Jobs, workspace_id: UUID) -> None:
    log, done, heard = EventLog(database, jobs), asyncio.Event(), []

    async def handler(tx: Tx, event: PlanMoved) -> None:
        heard.append((tx.workspace_id, event))
        done.set()

    log.on(PlanMoved, handler)
    event = PlanMoved(endpoint_id=uuid7(), plan_id=uuid7())
    async with database.workspace(workspace_id, "test") as tx:
        await log.emit(tx, event)
    await _work(jobs, done)
    assert heard == [(workspace_id, event)]


async def test_a_rolled_back_change_leaves_no_event_and_no_job(
    database: Database, jobs: Jobs, workspace_id: UUID
) -> None:
    log = EventLog(database, jobs)

    async def handler(tx: Tx, event: PlanMoved) -> None:
        raise AssertionError("never")

    log.on(PlanMoved, handler)
    with pytest.raises(RuntimeError):
        async with database.workspace(workspace_id, "test") as tx:
            await log.emit(tx, PlanMoved(endpoint_id=uuid7(), plan_id=uuid7()))
            raise RuntimeError
    async with database.workspace(workspace_id, "test") as tx:
        assert await tx.all(sa.select(events)) == []
    async with database.begin("charkha_app") as conn:
        assert (await conn.execute(sa.text("SELECT count(*) FROM procrastinate_jobs"))).scalar() == 0


async def test_a_job_that_runs_twice_has_one_effect(database: Database, jobs: Jobs, workspace_id: UUID) -> None:
    log, done, calls = EventLog(database, jobs), asyncio.Event(), []

    async def handler(tx: Tx, event: FeedbackGathered) -> None:
        calls.append(event)
        await link(tx, [Node("feedback", str(event.feedback_id))], Node("run", str(uuid7())))

    async def last(tx: Tx, event: PlanMoved) -> None:
        done.set()

    log.on(FeedbackGathered, handler)
    log.on(PlanMoved, last)
    feedback_id = uuid7()
    async with database.workspace(workspace_id, "test") as tx:
        await log.emit(tx, FeedbackGathered(feedback_id=feedback_id))
    async with database.begin("charkha_system") as conn:
        columns = "queue_name, task_name, args, priority"
        await conn.execute(
            sa.text(f"INSERT INTO procrastinate_jobs ({columns}) SELECT {columns} FROM procrastinate_jobs")
        )
    async with database.workspace(workspace_id, "test") as tx:
        await log.emit(tx, PlanMoved(endpoint_id=uuid7(), plan_id=uuid7()))
    await _work(jobs, done)
    async with database.workspace(workspace_id, "test") as tx:
        assert len(await made_of(tx, Node("feedback", str(feedback_id)))) == 1
        assert len(await tx.all(sa.select(deliveries).where(deliveries.c.handler.contains("feedback")))) == 1


async def test_coalesced_events_wait_as_one_job(database: Database, jobs: Jobs, workspace_id: UUID) -> None:
    log = EventLog(database, jobs)

    async def handler(tx: Tx, event: FeedbackGathered) -> None:
        return None

    log.on(FeedbackGathered, handler, coalesce=True)
    async with database.workspace(workspace_id, "test") as tx:
        for _ in range(5):
            await log.emit(tx, FeedbackGathered(feedback_id=uuid7()))
    async with database.begin("charkha_app") as conn:
        assert (await conn.execute(sa.text("SELECT count(*) FROM procrastinate_jobs"))).scalar() == 1
    async with database.workspace(workspace_id, "test") as tx:
        assert len(await tx.all(sa.select(events))) == 5


async def test_the_jobs_of_a_dead_worker_are_found(database: Database, jobs: Jobs, workspace_id: UUID) -> None:
    done = asyncio.Event()

    async def work(workspace: UUID) -> None:
        done.set()

    jobs.task("test.work", work)
    async with database.workspace(workspace_id, "test") as tx:
        await jobs.defer(tx, "test.work")
    async with database.begin("charkha_system") as conn:
        await conn.execute(sa.text("UPDATE procrastinate_jobs SET status = 'doing'"))
    reaping = asyncio.create_task(jobs.reap())
    try:
        await _work(jobs, done)
    finally:
        reaping.cancel()
        await asyncio.gather(reaping, return_exceptions=True)
