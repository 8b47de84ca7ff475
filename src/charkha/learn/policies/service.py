"""Training policies: set by people, considered whenever feedback comes, and then lessons become a run."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.clock import now
from charkha.core.errors import Invalid, Misconfigured, NotFound
from charkha.core.events import FeedbackGathered
from charkha.govern import audit
from charkha.kit import telemetry
from charkha.kit.db import Database, Tx
from charkha.kit.jobs import Jobs
from charkha.kit.lineage import Node
from charkha.kit.locks import exclusively
from charkha.kit.paging import Page
from charkha.learn.policies import domain, store
from charkha.learn.policies.domain import Outlook, Policy
from charkha.learn.ports import Datasets, Endpoints, Feedback, Inferences, Lesson, Suites, TrainingBase
from charkha.learn.runs.service import RunService, checked_config

JOB = "learn.reconsider"
SHIPPING_SECONDS, BUSY_SECONDS = 1.0, 15.0
log = telemetry.logger(__name__)


class PolicyService:
    """Policies of the transaction's workspace, and the judgement that it is time to train."""

    def __init__(
        self,
        jobs: Jobs,
        runs: RunService,
        *,
        feedback: Feedback,
        inferences: Inferences,
        datasets: Datasets,
        suites: Suites,
        endpoints: Endpoints,
    ) -> None:
        self._jobs, self._runs = jobs, runs
        self._feedback, self._inferences, self._datasets = feedback, inferences, datasets
        self._suites, self._endpoints = suites, endpoints

    def register(self, jobs: Jobs, database: Database) -> None:
        """Register the job that considers one endpoint again, later."""

        async def reconsider(workspace_id: UUID, *, endpoint_id: str) -> None:
            async with database.workspace(workspace_id, f"job:{JOB}") as tx:
                await self.consider_endpoint(tx, UUID(endpoint_id))

        jobs.task(JOB, reconsider)

    async def put(
        self,
        tx: Tx,
        endpoint_id: UUID,
        *,
        minimum_examples: int,
        enabled: bool = True,
        recipe: str = "sft",
        config: dict[str, Any] | None = None,
    ) -> Policy:
        """Set an endpoint's policy, and consider at once what lessons there are.

        Raises NotFound for an unknown endpoint, Invalid for one that cannot be trained or a wrong configuration.
        """
        await self._endpoints.training_base(tx, endpoint_id)
        checked_config(recipe, config or {})
        values = {"enabled": enabled, "minimum_examples": minimum_examples, "recipe": recipe, "config": config or {}}
        await store.put(tx, endpoint_id, **values)
        await audit.record(tx, "training_policy.set", "endpoint", endpoint_id, **values)
        if enabled:
            await self._later(tx, endpoint_id, 0.0)
        return await self.get(tx, endpoint_id)

    async def get(self, tx: Tx, endpoint_id: UUID) -> Policy:
        """An endpoint's policy. Raises NotFound."""
        found = await store.find(tx, endpoint_id)
        if found is None:
            raise NotFound(
                "This endpoint has no training policy.", remedy="Set one: PUT /training-policies/{endpoint_id}."
            )
        return found

    async def outlook(self, tx: Tx, endpoint_id: UUID) -> Outlook:
        """An endpoint's policy with the lessons that have come since the last training. Raises NotFound."""
        policy = await self.get(tx, endpoint_id)
        taught = await self._feedback.teaching(tx, after=policy.considered_until)
        waiting = await self._inferences.count_kept(tx, endpoint_id, taught)
        return Outlook(**msgspec.structs.asdict(policy), lessons_waiting=waiting)

    async def listed(
        self, tx: Tx, *, endpoint_ids: Collection[UUID] | None = None, after: UUID | None = None, limit: int = 50
    ) -> Page[Policy]:
        """The workspace's policies, those of the newest endpoints first; of `endpoint_ids` only, if given."""
        return await store.listed(tx, endpoint_ids=endpoint_ids, after=after, limit=limit)

    async def consider(self, tx: Tx, event: FeedbackGathered) -> None:
        """Feedback came: train every endpoint that now has enough new lessons."""
        for endpoint_id in await store.enabled(tx):
            await self.consider_endpoint(tx, endpoint_id)

    async def consider_endpoint(self, tx: Tx, endpoint_id: UUID) -> None:
        """Train an endpoint if it has enough new lessons and no candidate in the making; look again if that may change.

        One transaction at a time decides about an endpoint, so concurrent feedback starts one run.
        """
        await exclusively(tx, f"training-policy:{endpoint_id}")
        policy = await store.find(tx, endpoint_id)
        if policy is None or not policy.enabled:
            return
        lessons = await self._feedback.lessons(tx, after=policy.considered_until)
        if len(lessons) < policy.minimum_examples:
            return
        contents = await self._inferences.contents(tx, _inferences(lessons))
        if len(domain.teach(endpoint_id, lessons, contents, None)) >= policy.minimum_examples:
            await self._train_or_wait(tx, policy, max(lesson.feedback_id for lesson in lessons))
        elif domain.on_their_way(lessons, await self._inferences.known(tx, _inferences(lessons)), now()):
            await self._later(tx, endpoint_id, SHIPPING_SECONDS)

    async def _train_or_wait(self, tx: Tx, policy: Policy, latest: UUID) -> None:
        if await self._runs.is_active(tx, policy.endpoint_id):
            await self._later(tx, policy.endpoint_id, BUSY_SECONDS)
            return
        try:
            base = await self._endpoints.training_base(tx, policy.endpoint_id)
        except NotFound:
            log.info("training.endpoint_gone", endpoint_id=str(policy.endpoint_id))
            await store.disable(tx, policy.endpoint_id)
            return
        await self._train(tx, policy, base)
        await store.consider_until(tx, policy.endpoint_id, latest)

    async def _train(self, tx: Tx, policy: Policy, base: TrainingBase) -> None:
        """Ask for a run on every lesson of the endpoint; what speaks against it is recorded as a failed run."""
        version_id = await self._freeze(tx, policy.endpoint_id, base)
        wanted: dict[str, Any] = {
            "endpoint_id": policy.endpoint_id,
            "dataset_version_id": version_id,
            "recipe": policy.recipe,
            "config": policy.config,
        }
        try:
            await self._runs.request(tx, **wanted)
        except (Invalid, Misconfigured) as error:
            log.warning("training.refused", endpoint_id=str(policy.endpoint_id), reason=str(error))
            await self._runs.refuse(tx, **wanted, base_model=base.model, reason=str(error))

    async def _freeze(self, tx: Tx, endpoint_id: UUID, base: TrainingBase) -> UUID:
        """Every lesson of the endpoint as a data set version, without what is held out for its suites."""
        lessons = await self._feedback.lessons(tx)
        contents = await self._inferences.contents(tx, _inferences(lessons))
        examples = domain.teach(endpoint_id, lessons, contents, base.labels)
        taught = {example.inference_id for example in examples}
        frozen = await self._datasets.freeze(
            tx,
            name=f"lessons of {base.name}",
            examples=examples,
            report={"lessons": len(examples)},
            sources=[Node("feedback", str(each.feedback_id)) for each in lessons if str(each.inference_id) in taught],
            held_out=await self._suites.held_out_hashes(tx, endpoint_id),
        )
        return frozen.id

    async def _later(self, tx: Tx, endpoint_id: UUID, delay: float) -> None:
        once = f"{JOB}:{tx.workspace_id}:{endpoint_id}"
        await self._jobs.defer(tx, JOB, once=once, delay=delay, endpoint_id=str(endpoint_id))


def _inferences(lessons: Sequence[Lesson]) -> list[UUID]:
    return [lesson.inference_id for lesson in lessons]
