"""Runs as people and policies see them: asked for, listed, watched, cancelled, taken up again."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from charkha.core.errors import Conflict, Invalid
from charkha.core.events import RunRequested
from charkha.core.ids import uuid7
from charkha.govern import audit
from charkha.kit import plugins
from charkha.kit.db import Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.kit.paging import Page
from charkha.learn.ports import Datasets, Endpoints
from charkha.learn.runs import store
from charkha.learn.runs.domain import Log, Point, Run, RunResult, Status, problem

JOB = "learn.run"
OF_THE_MACHINE = {"threads"}


class RunService:
    """Runs of the transaction's workspace."""

    def __init__(self, jobs: Jobs, events: EventLog, datasets: Datasets, endpoints: Endpoints) -> None:
        self._jobs, self._events, self._datasets, self._endpoints = jobs, events, datasets, endpoints

    async def request(
        self,
        tx: Tx,
        *,
        endpoint_id: UUID,
        dataset_version_id: UUID,
        recipe: str = "sft",
        config: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> Run:
        """Queue a run that makes a candidate for an endpoint.

        Raises NotFound for an unknown endpoint or data set version, Invalid for a recipe that there is none of, a wrong
        configuration or data that nothing can be learned from, Conflict where a candidate of the endpoint is in the
        making.
        """
        checked = checked_config(recipe, config or {})
        if reason := problem(await self._datasets.examples(tx, dataset_version_id)):
            raise Invalid(reason, param="dataset_version_id", code="nothing_to_learn")
        base = await self._endpoints.training_base(tx, endpoint_id)
        run_id = uuid7()
        facts = {"endpoint_id": endpoint_id, "recipe": recipe, "dataset_version_id": dataset_version_id, "seed": seed}
        if not await store.add(tx, id=run_id, config=checked, base_model=base.model, status="queued", **facts):
            raise _busy()
        await audit.record(tx, "run.requested", "run", run_id, recipe=recipe, dataset_version=str(dataset_version_id))
        await self._events.emit(tx, RunRequested(run_id=run_id))
        await self._enqueue(tx, run_id)
        return await store.get(tx, run_id)

    async def refuse(
        self,
        tx: Tx,
        *,
        endpoint_id: UUID,
        dataset_version_id: UUID,
        recipe: str,
        config: dict[str, Any],
        base_model: str,
        reason: str,
    ) -> Run:
        """Record a run that failed before it began, so that nobody waits for it in vain."""
        run_id = uuid7()
        facts = {"endpoint_id": endpoint_id, "recipe": recipe, "dataset_version_id": dataset_version_id, "seed": 0}
        await store.add(tx, id=run_id, config=config, base_model=base_model, status="failed", error=reason, **facts)
        await audit.record(tx, "run.refused", "run", run_id, reason=reason)
        return await store.get(tx, run_id)

    async def get(self, tx: Tx, run_id: UUID) -> Run:
        """A run. Raises NotFound."""
        return await store.get(tx, run_id)

    async def listed(
        self,
        tx: Tx,
        *,
        endpoint_id: UUID | None = None,
        dataset_version_ids: Collection[UUID] = (),
        status: Status | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[Run]:
        """Runs, newest first, that match everything given: learned from any of `dataset_version_ids`, if given."""
        versions = list(dataset_version_ids) or None
        equal = {"endpoint_id": endpoint_id, "dataset_version_id": versions, "status": status}
        return await store.listed(tx, equal, after=after, limit=limit)

    async def points(self, tx: Tx, run_id: UUID, *, after_step: int = -1, most: int | None = None) -> list[Point]:
        """The run's curve after a step, or all of it in at most `most` points. Raises NotFound."""
        await store.get(tx, run_id)
        if most is not None:
            return await store.sampled(tx, run_id, most)
        return await store.points(tx, run_id, after_step=after_step)

    async def log(self, tx: Tx, run_id: UUID, *, after: int = 0, limit: int = 500, last: int | None = None) -> Log:
        """The run's log after a line, or its `last` lines. Raises NotFound."""
        await store.get(tx, run_id)
        if last is not None:
            return Log(await store.lines(tx, run_id, after=after, limit=last, last=True), None)
        lines = await store.lines(tx, run_id, after=after, limit=limit + 1)
        return Log(lines[:limit], lines[limit - 1].number if len(lines) > limit else None)

    async def result(self, tx: Tx, run_id: UUID) -> RunResult:
        """What a succeeded run left. Raises NotFound, or Conflict for a run that has no result."""
        run = await store.get(tx, run_id)
        if run.result is None or run.endpoint_id is None:
            raise Conflict(f"The run is {run.status} and has no result.", remedy="Wait until it has succeeded.")
        base = await self._endpoints.training_base(tx, run.endpoint_id)
        left, record = run.result, run.result["record"]
        return RunResult(
            run_id=run.id,
            endpoint_id=run.endpoint_id,
            endpoint_name=base.name,
            dataset_version_id=run.dataset_version_id,
            engine=base.engine,
            base_model=run.base_model,
            base_hash=record["base_hash"],
            gguf_blob=left["gguf_blob"],
            gguf_sha256=left["gguf_sha256"],
            safetensors_blob=left["safetensors_blob"],
            config_blob=left["config_blob"],
            record=record,
            metrics=record.get("metrics", {}),
            system_prompt=base.system_prompt,
        )

    async def is_active(self, tx: Tx, endpoint_id: UUID) -> bool:
        """Whether a candidate of the endpoint is in the making."""
        return await store.is_active(tx, endpoint_id)

    async def cancel(self, tx: Tx, run_id: UUID) -> Run:
        """Cancel a run: at once where it waits, within seconds where it runs. Raises NotFound, or Conflict if it has ended."""
        if not await store.request_cancel(tx, run_id):
            run = await store.get(tx, run_id)
            raise Conflict(
                f"The run has {run.status} already.", remedy="Only queued and running ones can be cancelled."
            )
        await audit.record(tx, "run.cancelled", "run", run_id)
        return await store.get(tx, run_id)

    async def resume(self, tx: Tx, run_id: UUID) -> Run:
        """Queue a failed or cancelled run again; it goes on from its last checkpoint. Raises NotFound or Conflict."""
        run = await store.get(tx, run_id)
        if run.endpoint_id is not None and await store.is_active(tx, run.endpoint_id):
            raise _busy()
        if not await store.requeue(tx, run_id):
            raise Conflict(f"The run is {run.status}.", remedy="Only failed and cancelled ones can be resumed.")
        await audit.record(tx, "run.resumed", "run", run_id)
        await self._enqueue(tx, run_id)
        return await store.get(tx, run_id)

    async def _enqueue(self, tx: Tx, run_id: UUID) -> None:
        await self._jobs.defer(tx, JOB, lock=f"run:{run_id}", run_id=str(run_id))


def checked_config(recipe: str, config: dict[str, Any]) -> dict[str, Any]:
    """A recipe's configuration with its defaults filled in, as JSON values. Raises Invalid, or Misconfigured.

    What the machine of the worker decides is left open unless it was asked for.
    """
    checked = plugins.configured(plugins.load("recipes", recipe), config)
    values: dict[str, Any] = checked.model_dump(mode="json", exclude=OF_THE_MACHINE - config.keys())
    return values


def _busy() -> Conflict:
    return Conflict(
        "A candidate of this endpoint is in the making.", remedy="Wait for its run to end, or cancel that run."
    )
