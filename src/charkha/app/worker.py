"""One worker process: event handlers, training, evaluation, and the schedules that nobody has to ask for."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta

from charkha.app.installation import Installation
from charkha.app.wiring import Wiring
from charkha.core.errors import CharkhaError
from charkha.kit import telemetry
from charkha.observe.partitions import ensure_partitions
from charkha.release.rollouts.jobs import tick

_QUEUES = {"events": 4, "train": 1, "evaluate": 1}
_DAY = 86_400.0
log = telemetry.logger(__name__)


async def run(installation: Installation) -> None:
    """Work until SIGTERM or SIGINT; jobs that run then are taken up again by the next worker."""
    wiring = Wiring(installation, reports=False)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await wiring.jobs.open()
    try:
        await wiring.snapshots.start()
        await _until(stopped, _work(wiring))
    finally:
        await wiring.close()


async def _work(wiring: Wiring) -> None:
    retention = timedelta(days=wiring.installation.settings.retention.job_days)
    async with asyncio.TaskGroup() as group:
        for queue, concurrency in _QUEUES.items():
            group.create_task(wiring.jobs.work(queue, concurrency=concurrency))
        group.create_task(wiring.jobs.reap())
        group.create_task(_every(1.0, lambda: tick(wiring.database, wiring.conductor)))
        group.create_task(_every(_DAY, lambda: ensure_partitions(wiring.database)))
        group.create_task(_every(_DAY, lambda: wiring.jobs.forget(retention)))


async def _every(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do some work again and again. A part that is missing now is told of and tried again; a fault ends the worker."""
    while True:
        try:
            await work()
        except CharkhaError as error:
            log.warning("schedule.postponed", reason=str(error))
        await asyncio.sleep(seconds)


async def _until(stopped: asyncio.Event, work: Awaitable[None]) -> None:
    """Run `work` until `stopped` is set; raise what it raises."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(stopped.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not working.done():
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return
    await working
