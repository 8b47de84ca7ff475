"""Jobs: enqueued in the caller's own transaction, run by workers, found again when a worker dies.

A thin layer over procrastinate. Queue names carry a version, so that an old worker cannot destroy a new one's job.
Boundary: the only module that knows procrastinate.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from procrastinate import App, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import AlreadyEnqueued, UniqueViolation
from procrastinate.jobs import DeleteJobCondition, Job, Status
from procrastinate.manager import JobManager

from charkha.core.errors import Misconfigured
from charkha.kit import telemetry
from charkha.kit.db import Tx

QUEUE_VERSION = 1
HEARTBEAT_SECONDS, STALLED_SECONDS = 2, 6
_RETRY = RetryStrategy(max_attempts=8, exponential_wait=2)

Work = Callable[..., Awaitable[None]]
log = telemetry.logger(__name__)


class _Manager(JobManager):
    """Procrastinate's, but for the second life of a job of which at most one may wait, while another waits already."""

    async def retry_job(self, job: Job, *args: Any, **options: Any) -> None:
        """Queue a job that failed or whose worker died again; drop it where one that will do the same is waiting."""
        try:
            await super().retry_job(job, *args, **options)
        except UniqueViolation:
            await self.finish_job(job, Status.ABORTED, delete_job=True)
            log.info("job.merged", job=job.task_name, id=job.id)


class Jobs:
    """The register of tasks, the way to enqueue them, and the worker loop."""

    def __init__(self, url: str) -> None:
        self._connector = PsycopgConnector(
            conninfo=url, kwargs={"options": "-c role=charkha_system"}, min_size=1, max_size=6
        )
        self._app = App(connector=self._connector)
        self._app.job_manager = _Manager(self._connector)
        self._queues: dict[str, str] = {}

    def task(self, name: str, work: Work, *, queue: str = "events", retry: bool = True) -> None:
        """Register `work` under a stable name; it is called with the job's arguments, `workspace_id` first.

        Work must bear being run again: a worker can die between its commit and its acknowledgement.
        """
        self._queues[name] = versioned(queue)

        async def run(*, workspace_id: str, **arguments: Any) -> None:
            await work(UUID(workspace_id), **arguments)

        self._app.task(name=name, queue=versioned(queue), retry=_RETRY if retry else False)(run)

    async def defer(
        self,
        tx: Tx,
        name: str,
        *,
        once: str | None = None,
        lock: str | None = None,
        delay: float = 0.0,
        **arguments: Any,
    ) -> bool:
        """Enqueue a job in the transaction `tx`; it exists if and only if that commits.

        `once`: at most one such job may be waiting; returns False where one is. `lock`: at most one may be running.
        `delay` in seconds. Arguments must be JSON values.
        """
        if name not in self._queues:
            raise Misconfigured(f"No job is registered as '{name}'.", remedy="Register it in wiring.")
        connection = (await tx.conn.get_raw_connection()).driver_connection
        options: dict[str, Any] = {"queueing_lock": once, "lock": lock}
        if delay:
            options["schedule_in"] = {"seconds": delay}
        deferrer = self._app.configure_task(
            name, queue=self._queues[name], connection=connection, allow_unknown=False, **options
        )
        try:
            async with tx.conn.begin_nested():
                await deferrer.defer_async(workspace_id=str(tx.workspace_id), **arguments)
        except AlreadyEnqueued:
            return False
        return True

    async def open(self) -> None:
        """Open the connections that enqueueing needs."""
        await self._app.open_async()

    async def close(self) -> None:
        """Close them."""
        await self._app.close_async()

    async def work(self, queue: str, *, concurrency: int) -> None:
        """Run jobs of one queue until cancelled; `open` comes first."""
        await self._app.run_worker_async(
            queues=[versioned(queue)],
            name=queue,
            concurrency=concurrency,
            install_signal_handlers=False,
            fetch_job_polling_interval=1.0,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
            shutdown_graceful_timeout=5.0,
            delete_jobs=DeleteJobCondition.SUCCESSFUL,
        )

    async def reap(self) -> None:
        """Hand the jobs of dead workers to live ones, for ever."""
        while True:
            for job in await self._app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
                log.warning("job.reaped", job=job.task_name, id=job.id)
                await self._app.job_manager.retry_job(job)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def forget(self, older_than: timedelta) -> None:
        """Remove jobs that ended longer ago than `older_than`."""
        await self._app.job_manager.delete_old_jobs(
            nb_hours=int(older_than.total_seconds() // 3600), include_failed=True
        )


def versioned(queue: str) -> str:
    """The queue's name with the version of the tasks in it."""
    return f"{queue}.v{QUEUE_VERSION}"
