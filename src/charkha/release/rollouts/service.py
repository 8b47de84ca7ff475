"""Rollouts as evidence and people begin and end them. What happens in between is `conductor`'s.

`decide` listens to scorecards; `rollback` is the one action that takes an endpoint back to what was good.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from charkha.core.clock import now
from charkha.core.errors import Conflict, NotFound
from charkha.core.events import ScorecardReady
from charkha.govern import audit
from charkha.kit import telemetry
from charkha.kit.db import Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.kit.lineage import Node, link
from charkha.kit.locks import exclusively
from charkha.kit.paging import Page
from charkha.kit.snapshot import bump
from charkha.release.judgement import STEPS
from charkha.release.ports import Evaluations, Outcomes, Plans, Scorecard, Share
from charkha.release.registry.domain import Version
from charkha.release.registry.service import RegistryService
from charkha.release.rollouts import store
from charkha.release.rollouts.domain import (
    ACTIVE,
    RECENT,
    Action,
    Ground,
    Release,
    Rollback,
    Rollout,
    Rules,
    Status,
    check_canary,
    check_rules,
    objection,
    why_not,
)
from charkha.release.rollouts.moves import NO_VERDICT, Mover
from charkha.release.rollouts.pace import fitting, traffic

PREPARE = "release.prepare"
"""The job that loads a candidate's adapter on the engines and then starts its rollout."""

log = telemetry.logger(__name__)


class RolloutService:
    """Rollouts of the transaction's workspace.

    `steps`, `rules` and `patience` are those of rollouts that scorecards begin: first steps that would take longer than
    `patience` seconds at the endpoint's traffic are left out (see `pace`); None leaves none out. A rollout that a person
    begins has the same `steps` and `rules` unless they say otherwise, and every step.
    """

    def __init__(
        self,
        registry: RegistryService,
        plans: Plans,
        evaluations: Evaluations,
        outcomes: Outcomes,
        jobs: Jobs,
        events: EventLog,
        *,
        steps: Sequence[int] = STEPS,
        rules: Rules | None = None,
        patience: float | None = None,
    ) -> None:
        self._registry, self._plans, self._jobs = registry, plans, jobs
        self._evaluations, self._outcomes, self._patience = evaluations, outcomes, patience
        self._mover = Mover(plans, registry, events)
        self._steps, self.rules = check_canary(steps), check_rules(rules or Rules())

    async def decide(self, tx: Tx, event: ScorecardReady) -> None:
        """Begin a rollout of a candidate that is better than what is live; else record why nothing moves."""
        if await store.is_decided(tx, event.evaluation_id):
            return
        card = await self._evaluations.scorecard(tx, event.evaluation_id)
        try:
            version = await self._registry.get(tx, card.candidate_version_id)
            ground = await self._ground(tx, card.endpoint_id)
        except NotFound as error:
            log.warning("release.nowhere", evaluation=str(event.evaluation_id), reason=str(error))
            return
        refused = why_not(card, version, ground)
        steps, pace = (self._steps, "") if refused else await self._paced(tx, ground, card)
        told = {"evaluation_id": str(event.evaluation_id), "summary": card.summary}
        rollout_id = await self._add(
            tx,
            ground,
            version,
            "decline" if refused else "prepare",
            refused or " ".join(filter(None, ("The scorecard says: better.", card.summary, pace))),
            evaluation_id=event.evaluation_id,
            steps=steps,
            verdict=card.verdict,
            evidence=told,
        )
        if refused is None:
            await self._jobs.defer(tx, PREPARE, rollout_id=str(rollout_id))

    async def _paced(self, tx: Tx, ground: Ground, card: Scorecard) -> tuple[tuple[int, ...], str]:
        """The steps that the endpoint's traffic of late can decide in time, and why some were left out."""
        if self._patience is None or card.difference is None:
            return self._steps, ""
        recent = await self._outcomes.observations(
            tx, ground.endpoint_id, variant_ids=[ground.baseline.id], since=now() - RECENT
        )
        if (seen := traffic(recent)) is None:
            return self._steps, ""
        return fitting(self._steps, card.difference, seen, self.rules.alpha, self.rules.minimum, self._patience)

    async def begin(
        self,
        tx: Tx,
        endpoint_id: UUID,
        reference: str,
        *,
        reason: str,
        steps: Sequence[int] | None = None,
        rules: Rules | None = None,
    ) -> Rollout:
        """Begin a rollout by hand of any version that fits the endpoint; live traffic judges it as any other.

        Raises NotFound, Invalid for steps or rules, Conflict where the endpoint cannot take a rollout now.
        """
        version = await self._registry.get(tx, reference)
        ground = await self._ground(tx, endpoint_id)
        if refused := objection(version, ground):
            raise refused
        chosen: dict[str, Any] = {
            "steps": check_canary(steps or self._steps),
            "rules": check_rules(rules or self.rules),
        }
        rollout_id = await self._add(tx, ground, version, "prepare", reason, **chosen)
        await self._jobs.defer(tx, PREPARE, rollout_id=str(rollout_id))
        await audit.record(tx, "release.prepare", "rollout", rollout_id, candidate=version.reference, reason=reason)
        return (await self.get(tx, rollout_id)).rollout

    async def promote(self, tx: Tx, rollout_id: UUID, reason: str) -> Rollout:
        """Give a running candidate all traffic without the verdict that it lacks; audited as an override."""
        await self._mover.move(tx, await self._held(tx, rollout_id), "override", reason)
        return (await self.get(tx, rollout_id)).rollout

    async def cancel(self, tx: Tx, rollout_id: UUID, reason: str) -> Rollout:
        """End a rollout that is under way; its baseline has all traffic again."""
        await self._mover.move(tx, await self._held(tx, rollout_id), "cancel", reason)
        return (await self.get(tx, rollout_id)).rollout

    async def rollback(self, tx: Tx, endpoint_id: UUID, reason: str) -> Rollback:
        """Take all traffic from the newest candidate that has any, and give it to what it was compared with.

        Done again, it goes back one release further. Ends whatever else is under way at the endpoint. Raises Conflict
        when nothing that was released has traffic.
        """
        await _alone(tx, endpoint_id)
        undone = await store.hold_undone(tx, endpoint_id)
        live = await self._plans.live(tx, endpoint_id)
        serving = {share.variant_id for share in live.shares if share.share}
        back = next((each for each in undone if each.candidate_variant_id in serving), None)
        if back is None:
            raise Conflict(
                "No release of this endpoint has traffic, so there is nothing to go back to.",
                remedy="See GET /releases; a rollout in preparation can be cancelled.",
            )
        for other in undone:
            if other.status in ACTIVE and other is not back:
                await self._mover.move(tx, other, "supersede", "The endpoint was rolled back.")
        plan_id = await self._mover.move(tx, back, "roll_back", reason, from_plan=live.id)
        return Rollback(back.id, endpoint_id, back.candidate, plan_id, live.id, await bump(tx))

    async def get(self, tx: Tx, rollout_id: UUID) -> Release:
        """A rollout with its decisions. Raises NotFound."""
        found = await store.get(tx, rollout_id)
        if found is None:
            raise _unknown(rollout_id)
        return Release(found, await store.decisions_of(tx, rollout_id))

    async def listed(
        self,
        tx: Tx,
        *,
        endpoint_id: UUID | None = None,
        candidate: str | None = None,
        status: Status | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[Rollout]:
        """The workspace's rollouts, newest first, those that were declined too. Raises NotFound for no such candidate."""
        of = None if candidate is None else (await self._registry.get(tx, candidate)).id
        return await store.listed(tx, endpoint_id=endpoint_id, candidate=of, status=status, after=after, limit=limit)

    async def _held(self, tx: Tx, rollout_id: UUID) -> Rollout:
        found = await store.hold(tx, rollout_id)
        if found is None:
            raise _unknown(rollout_id)
        return found

    async def _ground(self, tx: Tx, endpoint_id: UUID) -> Ground:
        await _alone(tx, endpoint_id)
        live = await self._plans.live(tx, endpoint_id)
        shares = tuple(Share(each.variant_id, each.share) for each in live.shares if each.share)
        greatest = max(shares, key=lambda each: each.share)
        baseline = await self._plans.variant(tx, greatest.variant_id)
        return Ground(endpoint_id, live.id, shares, baseline, await store.is_occupied(tx, endpoint_id))

    async def _add(
        self,
        tx: Tx,
        ground: Ground,
        version: Version,
        action: Action,
        reason: str,
        *,
        verdict: str = NO_VERDICT,
        evidence: dict[str, Any] | None = None,
        **values: Any,
    ) -> UUID:
        """Write a rollout that is in preparation, or one that is declined, with the decision and its lineage."""
        declined = action == "decline"
        values = {"steps": self._steps, "rules": self.rules, "evaluation_id": None, **values}
        rollout_id = await store.add(
            tx,
            endpoint_id=ground.endpoint_id,
            candidate_version_id=version.id,
            baseline_variant_id=ground.baseline.id,
            baseline_plan_id=ground.plan_id,
            plan_id=ground.plan_id,
            share=0,
            status="declined" if declined else "preparing",
            ended_at=now() if declined else None,
            reason=reason,
            **values,
        )
        evaluation_id = values["evaluation_id"]
        sources = [Node("version", str(version.id))]
        sources += [Node("evaluation", str(evaluation_id))] if evaluation_id else []
        await link(tx, sources, Node("rollout", str(rollout_id)))
        await store.decided(tx, rollout_id, action, 0, verdict, reason, evidence or {})
        return rollout_id


async def _alone(tx: Tx, endpoint_id: UUID) -> None:
    """Begin and roll back rollouts of an endpoint one transaction at a time."""
    await exclusively(tx, f"rollouts:{endpoint_id}")


def _unknown(rollout_id: UUID) -> NotFound:
    return NotFound(f"There is no release {rollout_id} in this workspace.", remedy="See GET /releases.")
