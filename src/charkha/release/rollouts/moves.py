"""Carries a transition of a rollout out: plan, alias, row, decision, audit and event, in one transaction.

Boundary: the only code of the station that moves a live plan.
"""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from charkha.core.clock import now
from charkha.core.events import RolloutAdvanced
from charkha.govern import audit
from charkha.kit.crashpoints import crashpoint
from charkha.kit.db import Tx
from charkha.kit.eventlog import EventLog
from charkha.release.ports import Plans
from charkha.release.registry.domain import LIVE
from charkha.release.registry.service import RegistryService
from charkha.release.rollouts import store
from charkha.release.rollouts.domain import ACTIVE, Action, Move, Rollout, split, transition

NO_VERDICT = "not enough data"


class Mover:
    """Moves rollouts. The caller holds the rollout's row."""

    def __init__(self, plans: Plans, registry: RegistryService, events: EventLog) -> None:
        self._plans, self._registry, self._events = plans, registry, events

    async def move(
        self,
        tx: Tx,
        rollout: Rollout,
        action: Action,
        reason: str,
        *,
        to: int | None = None,
        from_plan: UUID | None = None,
        judgement: dict[str, Any] | None = None,
        **changes: Any,
    ) -> UUID:
        """Do what `action` means (see `domain.transition`); returns the id of the plan that the rollout now stands on.

        `from_plan` is the plan that must be live, by default the rollout's own. Raises Conflict where another is, and
        then nothing is done. `judgement` is the evidence; `changes` are further columns of the rollout.
        """
        move = transition(rollout.status, rollout.share, action, to)
        await self._alias(tx, rollout, move)
        plan_id = await self._plan(tx, rollout, move, from_plan or rollout.plan_id, reason) if move.moves_plan else None
        await self._write(tx, rollout, move, plan_id, reason, judgement, changes)
        told = judgement or rollout.judgement or {"verdict": NO_VERDICT, "evidence": {}}
        await store.decided(tx, rollout.id, action, move.share, told["verdict"], reason, told["evidence"])
        if action != "wait":
            await self._announce(tx, rollout, action, move, reason)
        return plan_id or rollout.plan_id

    async def _announce(self, tx: Tx, rollout: Rollout, action: Action, move: Move, reason: str) -> None:
        detail = {"candidate": rollout.candidate, "share": move.share, "reason": reason}
        await audit.record(tx, f"release.{action}", "rollout", rollout.id, **detail)
        of = {"rollout_id": rollout.id, "endpoint_id": rollout.endpoint_id}
        await self._events.emit(tx, RolloutAdvanced(**of, status=move.status, share=move.share))

    async def _alias(self, tx: Tx, rollout: Rollout, move: Move) -> None:
        """`live` follows promotions, and their rollbacks. Before the plan: aliases are locked before the snapshot is."""
        name = rollout.candidate.rpartition("@")[0]
        if move.status == "promoted":
            await self._registry.point(tx, name, LIVE, rollout.candidate_version_id)
        elif move.status == "rolled_back" and rollout.status == "promoted":
            baseline = await self._plans.variant(tx, rollout.baseline_variant_id)
            await self._registry.point(tx, name, LIVE, baseline.version_id)

    async def _plan(self, tx: Tx, rollout: Rollout, move: Move, expected: UUID, reason: str) -> UUID:
        shares = split(rollout.baseline_variant_id, rollout.candidate_variant_id, move.share)
        crashpoint("rollout.before_swap")
        plan = await self._plans.swap(tx, rollout.endpoint_id, expected_plan_id=expected, shares=shares, reason=reason)
        crashpoint("rollout.after_swap")
        return plan.id

    async def _write(
        self,
        tx: Tx,
        rollout: Rollout,
        move: Move,
        plan_id: UUID | None,
        reason: str,
        judgement: dict[str, Any] | None,
        changes: dict[str, Any],
    ) -> None:
        values: dict[str, Any] = {"status": move.status, "share": move.share, "reason": reason, **changes}
        if judgement is not None:
            values["judgement"] = judgement
        if plan_id is not None:
            # The wall clock of the processes that stamp inferences, not the transaction's beginning.
            values |= {"plan_id": plan_id, "step_started_at": now()}
        if move.status not in ACTIVE:
            values["ended_at"] = sa.func.now()
        await store.change(tx, rollout.id, **values)
