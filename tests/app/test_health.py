"""What an installation tells of itself: its jobs by state, in all and in each queue."""

import pytest

from charkha.app import health
from charkha.govern.access import Access
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.jobs import Jobs
from charkha.kit.snapshot import Snapshots
from tests.callers import callers

pytestmark = pytest.mark.anyio


async def nothing(*_: object, **__: object) -> None:
    """A job that nobody carries out here."""


async def test_jobs_are_told_by_state_and_by_queue(database: Database, jobs: Jobs, secrets_of_test: Secrets) -> None:
    def made(access: Access) -> Router:
        return health.router(database, Snapshots(database), {}, access)

    app = await callers(database, secrets_of_test, made)
    for name, queue in (("a", "events"), ("b", "train")):
        jobs.task(name, nothing, queue=queue)
    async with app.client("viewer") as client:
        empty = (await client.get("/status")).json()
        assert (empty["jobs"], empty["queues"]) == ({}, {})
        async with database.workspace(app.workspaces["first"], "test") as tx:
            for name in ("a", "a", "b"):
                await jobs.defer(tx, name)
        told = (await client.get("/status")).json()
    assert (told["jobs"], told["queues"]) == ({"todo": 3}, {"events.v1": {"todo": 2}, "train.v1": {"todo": 1}})
