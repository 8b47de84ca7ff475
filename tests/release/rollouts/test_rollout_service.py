"""Rollouts on a real database: evidence in, traffic moved; or not moved, with the reason on record."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from charkha.core.clock import now
from charkha.core.errors import Conflict, Invalid, Unavailable
from charkha.core.events import ScorecardReady
from charkha.core.ids import uuid7
from charkha.kit.eventlog import events
from charkha.kit.lineage import Node, sources_of
from charkha.release.ports import Outcome
from charkha.release.rollouts.conductor import PATIENCE
from charkha.release.rollouts.domain import Rollout
from charkha.release.tables import rollouts as rollouts_table
from charkha.serve.domain import Share
from tests.release.world import BAD, GOOD, World

pytestmark = pytest.mark.anyio


async def actions(world: World, rollout: Rollout) -> list[tuple[str, int]]:
    return [(decision.action, decision.share) for decision in (await world.release(rollout.id)).decisions]


async def test_a_better_candidate_goes_from_1_to_100_percent_on_evidence(world: World) -> None:
    version = await world.trained()
    rollout = await world.scored(version)
    assert (rollout.status, rollout.share, rollout.candidate) == ("preparing", 0, "support@1")
    before = await world.live()
    await world.prepare(world.workspace_id, rollout_id=str(rollout.id))
    assert {digest for digest, _ in version.adapters} <= world.engines.held["local"]
    shares = []
    while (rollout := (await world.release(rollout.id)).rollout).status == "running":
        live = await world.shares()
        assert live == {rollout.baseline_variant_id: 100 - rollout.share, rollout.candidate_variant_id: rollout.share}
        shares.append(rollout.share)
        rollout = await world.judged(rollout, GOOD, BAD)
    assert shares == [1, 10, 50]
    assert (rollout.status, rollout.share) == ("promoted", 100)
    assert await world.shares() == {rollout.candidate_variant_id: 100}
    assert await world.alias() == "support@1"
    assert await actions(world, rollout) == [
        ("prepare", 0), ("start", 1), ("advance", 10), ("advance", 50), ("promote", 100),
    ]  # fmt: skip
    assert rollout.baseline_plan_id == before.id
    async with world.tx() as tx:
        told = await tx.all(sa.select(events.c.body).where(events.c.topic == "rollout.advanced").order_by(events.c.id))
        assert [(row.body["status"], row.body["share"]) for row in told] == [
            ("running", 1), ("running", 10), ("running", 50), ("promoted", 100),
        ]  # fmt: skip
        made = {node.kind for node in await sources_of(tx, Node("rollout", str(rollout.id)))}
        candidate = await world.endpoints.variant(tx, rollout.candidate_variant_id)
    assert made == {"version", "evaluation"}
    assert (candidate.version_id, candidate.system_prompt, candidate.name) == (version.id, "Be brief.", "support@1")
    decided = (await world.release(rollout.id)).decisions[-1]
    assert (decided.verdict, decided.evidence["share"]) == ("better", 50)


async def test_a_worse_candidate_loses_its_traffic_by_itself(world: World) -> None:
    rollout = await world.judged(await world.running(), BAD, GOOD)
    assert (rollout.status, rollout.share) == ("rolled_back", 0)
    assert await world.shares() == {rollout.baseline_variant_id: 100}
    assert rollout.judgement is not None
    assert rollout.judgement["verdict"] == "worse"
    assert await world.alias() is None
    await world.judged(rollout, GOOD, BAD)
    assert await world.shares() == {rollout.baseline_variant_id: 100}


async def test_a_candidate_that_fails_or_is_slow_loses_its_traffic(world: World) -> None:
    for place, trouble in enumerate(({"error": True}, {"duration_ms": 5000.0})):
        world.outcomes.add(world.endpoint.variants[0].id, GOOD, times=20)
        rollout = await world.running(bytes([place]))
        assert rollout.rules.slow_ms == 300.0  # 200 ms above the baseline's 100
        for _ in range(15):
            world.outcomes.add(rollout.baseline_variant_id, None, times=9)
            world.outcomes.add(rollout.candidate_variant_id, None, **trouble)
        await world.tick()
        assert (await world.release(rollout.id)).rollout.status == "rolled_back"


async def test_without_enough_data_nothing_moves_and_one_decision_says_so(world: World) -> None:
    rollout = await world.running()
    for scores in (None, None, GOOD):
        world.outcomes.add(rollout.baseline_variant_id, scores, times=9)
        world.outcomes.add(rollout.candidate_variant_id, scores)
        await world.tick()
    after = (await world.release(rollout.id)).rollout
    assert (after.status, after.share, after.plan_id) == ("running", 1, rollout.plan_id)
    assert after.judgement is not None
    assert after.judgement["verdict"] == "not enough data"
    assert after.judgement["evidence"]["better"]["candidate"]["n"] == 1
    assert after.judgement["evidence"]["latency_ms"]["candidate"] == {"p50": 100.0, "p95": 100.0}
    assert await actions(world, rollout) == [("prepare", 0), ("start", 1), ("wait", 1)]


async def test_evidence_of_an_earlier_step_does_not_count_for_the_next(world: World) -> None:
    rollout = await world.judged(await world.running(), GOOD, BAD)
    assert rollout.share == 10
    await world.tick()
    assert (await world.release(rollout.id)).rollout.share == 10


async def test_first_steps_that_thin_traffic_cannot_decide_are_left_out_and_the_reason_says_so(world: World) -> None:
    (baseline,) = await world.shares()
    begun = int(now().timestamp() * 1000) - 600_000
    world.outcomes.seen = [
        Outcome(uuid7(begun + 1000 * each), baseline, error=False, duration_ms=100.0, score=float(each % 2))
        for each in range(300)
    ]
    rollout = await world.scored(await world.trained())
    assert rollout.steps == (10, 50, 100)
    assert "Begins at 10 %" in str(rollout.reason)
    await world.prepare(world.workspace_id, rollout_id=str(rollout.id))
    assert (await world.release(rollout.id)).rollout.share == 10


@pytest.mark.parametrize("verdict", ["worse", "not enough data"])
async def test_a_scorecard_that_is_not_better_is_declined_on_record(world: World, verdict: str) -> None:
    before = await world.live()
    rollout = await world.scored(await world.trained(), verdict)
    assert (rollout.status, rollout.share, rollout.candidate_variant_id) == ("declined", 0, None)
    assert rollout.ended_at is not None
    assert rollout.reason is not None
    assert verdict in rollout.reason
    (decision,) = (await world.release(rollout.id)).decisions
    assert (decision.action, decision.verdict) == ("decline", verdict)
    assert await world.live() == before
    await world.prepare(world.workspace_id, rollout_id=str(rollout.id))
    await world.tick()
    assert await world.live() == before


async def test_a_scorecard_against_a_version_that_is_not_live_is_declined(world: World) -> None:
    rollout = await world.scored(await world.trained(), incumbent=uuid4())
    assert rollout.status == "declined"
    assert "no longer" in str(rollout.reason)


async def test_one_rollout_at_a_time(world: World) -> None:
    first = await world.running(b"one")
    second = await world.scored(await world.trained(b"two"), incumbent=world.base.id)
    assert second.status == "declined"
    assert "under way" in str(second.reason)
    async with world.tx() as tx:
        with pytest.raises(Conflict, match="under way"):
            await world.rollouts.begin(tx, world.endpoint.id, "support@2", reason="now")
    assert (await world.release(first.id)).rollout.status == "running"


async def test_a_scorecard_that_is_told_of_twice_begins_one_rollout(world: World) -> None:
    rollout = await world.scored(await world.trained())
    event = ScorecardReady(
        evaluation_id=rollout.evaluation_id,
        candidate_version_id=rollout.candidate_version_id,
        endpoint_id=world.endpoint.id,
    )
    async with world.tx() as tx:
        await world.rollouts.decide(tx, event)
        assert len((await world.rollouts.listed(tx)).data) == 1


async def test_a_scorecard_of_an_endpoint_that_is_gone_decides_nothing(world: World) -> None:
    version = await world.trained()
    live = await world.live_version()
    async with world.tx() as tx:
        await world.endpoints.delete(tx, "support")
    with pytest.raises(IndexError):
        await world.scored(version, incumbent=live)


async def test_a_preparation_that_runs_twice_starts_once(world: World) -> None:
    rollout = await world.scored(await world.trained())
    await asyncio.gather(*(world.prepare(world.workspace_id, rollout_id=str(rollout.id)) for _ in range(3)))
    assert await actions(world, rollout) == [("prepare", 0), ("start", 1)]
    await world.live()


async def test_no_traffic_before_engines_hold_the_adapter(world: World) -> None:
    rollout = await world.scored(await world.trained())
    world.engines.refusal = Unavailable("no engine")
    with pytest.raises(Unavailable):
        await world.prepare(world.workspace_id, rollout_id=str(rollout.id))
    assert (await world.release(rollout.id)).rollout.status == "preparing"
    world.engines.refusal = Invalid("of another base")
    await world.prepare(world.workspace_id, rollout_id=str(rollout.id))
    after = (await world.release(rollout.id)).rollout
    assert (after.status, after.share) == ("failed", 0)
    assert "of another base" in str(after.reason)
    assert await world.shares() == {rollout.baseline_variant_id: 100}


async def test_a_preparation_that_takes_too_long_fails(world: World) -> None:
    rollout = await world.scored(await world.trained())
    await world.tick()
    assert (await world.release(rollout.id)).rollout.status == "preparing"
    async with world.tx() as tx:
        await tx.execute(rollouts_table.update().values(started_at=now() - PATIENCE - timedelta(seconds=1)))
    await world.tick()
    assert (await world.release(rollout.id)).rollout.status == "failed"


async def test_two_ticks_at_once_take_one_step(world: World) -> None:
    rollout = await world.running()
    for _ in range(12):
        world.outcomes.add(rollout.baseline_variant_id, BAD, times=9)
        world.outcomes.add(rollout.candidate_variant_id, GOOD)
    await asyncio.gather(*(world.tick() for _ in range(5)))
    taken = await actions(world, rollout)
    assert taken.count(("advance", 10)) == 1
    assert taken[-1] in (("advance", 10), ("wait", 10))
    assert (await world.shares())[rollout.candidate_variant_id] == 10  # type: ignore[index]


async def test_a_plan_moved_by_hand_supersedes_the_rollout_and_stays(world: World) -> None:
    rollout = await world.running()
    async with world.tx() as tx:
        by_hand = [Share(rollout.baseline_variant_id, 70), Share(rollout.candidate_variant_id, 30)]  # type: ignore[arg-type]
        plan = await world.endpoints.swap(
            tx, world.endpoint.id, expected_plan_id=rollout.plan_id, shares=by_hand, reason="by hand"
        )
    after = await world.judged(rollout, GOOD, BAD)
    assert after.status == "superseded"
    assert (await world.live()).id == plan.id


async def test_a_plan_moved_by_hand_during_the_preparation_supersedes_the_rollout(world: World) -> None:
    rollout = await world.scored(await world.trained())
    async with world.tx() as tx:
        same = [Share(rollout.baseline_variant_id, 100)]
        await world.endpoints.swap(
            tx, world.endpoint.id, expected_plan_id=rollout.plan_id, shares=same, reason="by hand"
        )
    await world.prepare(world.workspace_id, rollout_id=str(rollout.id))
    assert (await world.release(rollout.id)).rollout.status == "superseded"
    assert await world.shares() == {rollout.baseline_variant_id: 100}


async def test_a_deleted_endpoint_ends_its_rollout(world: World) -> None:
    rollout = await world.running()
    async with world.tx() as tx:
        await world.endpoints.delete(tx, "support")
    await world.tick()
    assert (await world.release(rollout.id)).rollout.status == "superseded"


async def test_one_rollout_that_cannot_be_judged_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = await world.running()
    judged: list[UUID] = []

    async def broken(tx: object, rollout_id: UUID) -> None:
        judged.append(rollout_id)
        raise ValueError("broken") if len(judged) == 1 else Unavailable("later")

    monkeypatch.setattr(world.conductor, "advance", broken)
    with pytest.raises(ExceptionGroup, match="could not be judged"):
        await world.tick()
    await world.tick()
    assert judged == [rollout.id, rollout.id]
