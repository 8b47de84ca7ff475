"""Takes rollouts from step to step: what jobs and the schedule do, each in a transaction of its own.

A rollout is moved only by whoever holds its row, and a plan only from the one that the rollout stands on; so two at a
time make one step, and a kill between two steps leaves the last one standing.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import msgspec

from charkha.core.clock import now
from charkha.core.errors import NotFound
from charkha.kit.db import Tx
from charkha.kit.eventlog import EventLog
from charkha.release.judgement import Advance, Finish, Judgement, RollBack, Wait, judge, next_step
from charkha.release.ports import LivePlan, Outcomes, Plans
from charkha.release.registry.domain import Version
from charkha.release.registry.service import RegistryService
from charkha.release.rollouts import store
from charkha.release.rollouts.domain import RECENT, Rollout, Rules, is_news, observations, slow_limit, told
from charkha.release.rollouts.latency import latencies
from charkha.release.rollouts.moves import Mover

PATIENCE = timedelta(minutes=15)
"""How long engines may take to load a candidate's adapter."""


class Conductor:
    """Starts, judges and ends rollouts of the transaction's workspace."""

    def __init__(self, registry: RegistryService, plans: Plans, outcomes: Outcomes, events: EventLog) -> None:
        self._registry, self._plans, self._outcomes = registry, plans, outcomes
        self._mover = Mover(plans, registry, events)

    async def awaited(self, tx: Tx, rollout_id: UUID) -> Version | None:
        """The version that a rollout in preparation waits for; None once it waits no more."""
        rollout = await store.get(tx, rollout_id)
        if rollout is None or rollout.status != "preparing":
            return None
        return await self._registry.get(tx, rollout.candidate_version_id)

    async def start(self, tx: Tx, rollout_id: UUID) -> None:
        """Give the candidate its first share. Every engine must hold its adapter by now."""
        rollout = await store.hold(tx, rollout_id)
        if rollout is None or rollout.status != "preparing":
            return
        live = await self._live(tx, rollout)
        if live is None:
            return
        version = await self._registry.get(tx, rollout.candidate_version_id)
        variant = await self._plans.add_variant(
            tx,
            rollout.endpoint_id,
            name=version.reference,
            version_id=version.id,
            adapters=version.adapters,
            like=rollout.baseline_variant_id,
        )
        rollout = msgspec.structs.replace(rollout, candidate_variant_id=variant.id)
        await self._mover.move(
            tx,
            rollout,
            "start",
            f"Every engine holds {rollout.candidate}.",
            to=rollout.steps[0],
            candidate_variant_id=variant.id,
            rules=await self._with_limit(tx, rollout),
        )

    async def fail(self, tx: Tx, rollout_id: UUID, reason: str) -> None:
        """End a rollout in preparation whose adapter cannot be loaded; nothing has moved."""
        rollout = await store.hold(tx, rollout_id)
        if rollout is not None and rollout.status == "preparing":
            await self._mover.move(tx, rollout, "fail", reason)

    async def advance(self, tx: Tx, rollout_id: UUID) -> None:
        """Judge a rollout by what is known now and take the step that follows; nothing if somebody else is at it."""
        rollout = await store.hold(tx, rollout_id, wait=False)
        if rollout is None:
            return
        if rollout.status == "preparing" and now() - rollout.started_at > PATIENCE:
            await self._mover.move(tx, rollout, "fail", "The engines did not load the adapter in time.")
        if rollout.status != "running" or await self._live(tx, rollout) is None:
            return
        seen = await self._outcomes.observations(
            tx, rollout.endpoint_id, variant_ids=_arms(rollout), since=rollout.step_started_at
        )
        rules = rollout.rules
        observed = observations(seen, rollout.candidate_variant_id, rules)
        judgement = judge(observed, rollout.share, rules.alpha, rules.minimum)
        took = {"latency_ms": latencies(seen, rollout.candidate_variant_id)}
        await self._follow(tx, rollout, replace(judgement, evidence=judgement.evidence | took))

    async def _follow(self, tx: Tx, rollout: Rollout, judgement: Judgement) -> None:
        """Do what follows from a judgement."""
        told_now = told(judgement, rollout.share)
        match next_step(rollout.steps, rollout.share, judgement):
            case Advance(share):
                await self._mover.move(tx, rollout, "advance", judgement.reason, to=share, judgement=told_now)
            case Finish():
                await self._mover.move(tx, rollout, "promote", judgement.reason, judgement=told_now)
            case RollBack(reason):
                await self._mover.move(tx, rollout, "roll_back", reason, judgement=told_now)
            case Wait(reason) if is_news(rollout.judgement, judgement, rollout.share):
                await self._mover.move(tx, rollout, "wait", reason, judgement=told_now)
            case Wait(reason) if told_now != rollout.judgement:
                await store.change(tx, rollout.id, judgement=told_now, reason=reason)

    async def _live(self, tx: Tx, rollout: Rollout) -> LivePlan | None:
        """The live plan if it is the one that the rollout stands on; otherwise the rollout ends, and None."""
        try:
            live = await self._plans.live(tx, rollout.endpoint_id)
        except NotFound:
            await self._mover.move(tx, rollout, "supersede", "The endpoint was deleted.")
            return None
        if live.id == rollout.plan_id:
            return live
        await self._mover.move(tx, rollout, "supersede", "Somebody moved the endpoint's plan meanwhile.")
        return None

    async def _with_limit(self, tx: Tx, rollout: Rollout) -> Rules:
        """The rules with what counts as slow, fixed now by the baseline's recent answers unless it was given."""
        rules = rollout.rules
        if rules.slow_ms is not None:
            return rules
        recent = await self._outcomes.observations(
            tx, rollout.endpoint_id, variant_ids=[rollout.baseline_variant_id], since=now() - RECENT
        )
        durations = [each.duration_ms for each in recent if each.duration_ms is not None and not each.error]
        return msgspec.structs.replace(rules, slow_ms=slow_limit(durations))


def _arms(rollout: Rollout) -> Sequence[UUID]:
    both = (rollout.baseline_variant_id, rollout.candidate_variant_id)
    return [variant_id for variant_id in both if variant_id is not None]
