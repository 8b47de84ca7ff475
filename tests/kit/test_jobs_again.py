"""Jobs that run again, after a failure or the death of their worker, while another of the same kind is waiting."""

import asyncio
from uuid import UUID

import pytest
import sqlalchemy as sa

from charkha.kit import jobs as kit_jobs
from charkha.kit.db import Database
from charkha.kit.jobs import Jobs

pytestmark = pytest.mark.anyio


async def _statuses(database: Database) -> list[str]:
    async with database.begin("charkha_system") as conn:
        query = sa.text("SELECT status::text FROM procrastinate_jobs ORDER BY id")
        return [row.status for row in await conn.execute(query)]


async def _working(jobs: Jobs, until: asyncio.Event) -> None:
    working = asyncio.create_task(jobs.work("events", concurrency=1))
    try:
        async with asyncio.timeout(20):
            await until.wait()
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_failed_job_gives_way_to_one_that_is_waiting(
    database: Database, jobs: Jobs, workspace_id: UUID
) -> None:
    """Else the failed one stays 'doing' for good, since two may not wait."""
    calls, done = [], asyncio.Event()

    async def work(workspace_id: UUID, *, number: int) -> None:
        calls.append(number)
        if number == 1:
            await defer(2)
            raise RuntimeError("the first fails")
        done.set()

    async def defer(number: int) -> None:
        async with database.workspace(workspace_id, "test") as tx:
            await jobs.defer(tx, "look", once="look", number=number)

    jobs.task("look", work)
    await defer(1)
    await _working(jobs, done)
    assert calls == [1, 2]
    assert await _statuses(database) == []


async def test_the_reaper_lives_on_where_a_dead_workers_job_gives_way(
    database: Database, jobs: Jobs, workspace_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(workspace_id: UUID) -> None:
        raise AssertionError("nobody works here")

    jobs.task("look", work)
    async with database.workspace(workspace_id, "test") as tx:
        await jobs.defer(tx, "look", once="look")
    async with database.begin("charkha_system") as conn:  # its worker died: it is 'doing', and there is no such worker
        await conn.execute(sa.text("UPDATE procrastinate_jobs SET status = 'doing'"))
    async with database.workspace(workspace_id, "test") as tx:
        await jobs.defer(tx, "look", once="look")
    monkeypatch.setattr(kit_jobs, "HEARTBEAT_SECONDS", 0.01)
    reaping = asyncio.create_task(jobs.reap())
    try:
        async with asyncio.timeout(20):
            while await _statuses(database) != ["todo"]:
                assert not reaping.done(), reaping.exception()
                await asyncio.sleep(0.02)
    finally:
        reaping.cancel()
        await asyncio.gather(reaping, return_exceptions=True)
