"""What runs rollouts without anybody asking: the job that prepares one, and the schedule that judges all of them."""

import asyncio
from uuid import UUID

from charkha.core.errors import CharkhaError, Unavailable
from charkha.kit import telemetry
from charkha.kit.db import Database
from charkha.kit.jobs import Jobs
from charkha.kit.system import system
from charkha.release.ports import Engines
from charkha.release.rollouts import store
from charkha.release.rollouts.conductor import Conductor
from charkha.release.rollouts.service import PREPARE

ACTOR = "system:release"
_AT_ONCE = 4

log = telemetry.logger(__name__)


def register(jobs: Jobs, database: Database, conductor: Conductor, engines: Engines) -> None:
    """Register the job that loads a candidate's adapter on every engine and then starts its rollout."""

    async def prepare(workspace_id: UUID, *, rollout_id: str) -> None:
        rollout = UUID(rollout_id)
        async with database.workspace(workspace_id, ACTOR) as tx:
            version = await conductor.awaited(tx, rollout)
        if version is None:
            return
        try:
            if version.adapters:
                await engines.ensure(workspace_id, version)
        except Unavailable:
            raise  # the job is tried again
        except CharkhaError as error:
            async with database.workspace(workspace_id, ACTOR) as tx:
                await conductor.fail(tx, rollout, f"The engine refuses the adapter: {error}")
            return
        async with database.workspace(workspace_id, ACTOR) as tx:
            await conductor.start(tx, rollout)

    jobs.task(PREPARE, prepare)


async def tick(database: Database, conductor: Conductor) -> None:
    """Judge every rollout under way once; run it about every second. One that cannot be judged does not stop others."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def judge(workspace_id: UUID, rollout_id: UUID) -> None:
        async with limit, database.workspace(workspace_id, ACTOR) as tx:
            await conductor.advance(tx, rollout_id)

    under_way = await rollouts_of_all_workspaces(database)
    results = await asyncio.gather(*(judge(*each) for each in under_way), return_exceptions=True)
    for (workspace_id, rollout_id), result in zip(under_way, results, strict=True):
        if isinstance(result, CharkhaError):
            where = {"rollout": str(rollout_id), "workspace": str(workspace_id)}
            log.warning("rollout.not_judged", reason=str(result), **where)
    faults = [result for result in results if isinstance(result, Exception) and not isinstance(result, CharkhaError)]
    if faults:
        raise ExceptionGroup("Rollouts could not be judged.", faults)


async def rollouts_of_all_workspaces(database: Database) -> list[tuple[UUID, UUID]]:
    """The (workspace, id) of every rollout under way: the one look of this station across workspaces."""
    async with system(database) as conn:
        return [(row.workspace_id, row.id) for row in await conn.execute(store.active())]
