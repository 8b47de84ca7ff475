"""Rollouts as people begin, force, cancel and list them; and as a stranger does not reach them."""

from uuid import uuid4

import pytest
import sqlalchemy as sa

from charkha.core.errors import CharkhaError, Conflict, Invalid, NotFound
from charkha.govern.tables import audit
from charkha.release.rollouts.domain import Rules
from tests.release.world import BAD, GOOD, World

pytestmark = pytest.mark.anyio


async def test_a_rollout_by_hand_is_judged_as_any_other(world: World) -> None:
    version = await world.trained()
    async with world.tx() as tx:
        rollout = await world.rollouts.begin(
            tx, world.endpoint.id, "support@1", reason="try", steps=[20, 100], rules=Rules(slow_ms=700)
        )
    assert (rollout.steps, rollout.rules.slow_ms, rollout.evaluation_id) == ((20, 100), 700, None)
    await world.prepare(world.workspace_id, rollout_id=str(rollout.id))
    rollout = await world.judged((await world.release(rollout.id)).rollout, GOOD, BAD)
    assert (rollout.status, rollout.candidate_version_id) == ("promoted", version.id)


async def test_a_rollout_by_hand_of_what_does_not_fit_is_refused(world: World) -> None:
    await world.trained(b"huge", base_model="huge")
    async with world.tx() as tx:
        begin = world.rollouts.begin
        with pytest.raises(Conflict, match="serves"):
            await begin(tx, world.endpoint.id, "support@1", reason="try")
        with pytest.raises(Conflict, match="already"):
            await begin(tx, world.endpoint.id, "tiny@0", reason="try")
    await world.trained(b"fits")
    async with world.tx() as tx:
        with pytest.raises(Invalid, match="baseline"):
            await world.rollouts.begin(tx, world.endpoint.id, "support@2", reason="try", steps=[100])
        with pytest.raises(Invalid):
            await world.rollouts.begin(tx, world.endpoint.id, "support@2", reason="try", rules=Rules(alpha=2))
        assert (await world.rollouts.listed(tx)).data == []


async def test_promotion_without_evidence_is_an_override_in_the_audit_trail(world: World) -> None:
    rollout = await world.running()
    async with world.tx() as tx:
        after = await world.rollouts.promote(tx, rollout.id, "the fair begins at noon")
        (row,) = await tx.all(sa.select(audit).where(audit.c.action == "release.override"))
        with pytest.raises(Conflict, match="promoted cannot override"):
            await world.rollouts.promote(tx, rollout.id, "again")
    assert (after.status, after.share) == ("promoted", 100)
    assert (row.actor, row.detail["reason"]) == ("key:test", "the fair begins at noon")
    assert await world.shares() == {rollout.candidate_variant_id: 100}
    assert await world.alias() == "support@1"
    decided = (await world.release(rollout.id)).decisions[-1]
    assert (decided.action, decided.share) == ("override", 100)


async def test_a_cancelled_rollout_gives_the_traffic_back(world: World) -> None:
    waiting = await world.scored(await world.trained(b"one"))
    async with world.tx() as tx:
        assert (await world.rollouts.cancel(tx, waiting.id, "no")).status == "cancelled"
    rollout = await world.running(b"two")
    async with world.tx() as tx:
        assert (await world.rollouts.cancel(tx, rollout.id, "no")).status == "cancelled"
        with pytest.raises(Conflict):
            await world.rollouts.cancel(tx, rollout.id, "no")
    assert await world.shares() == {rollout.baseline_variant_id: 100}


async def test_another_workspace_reaches_nothing_of_it(world: World) -> None:
    rollout = await world.running()
    async with world.tx(uuid4()) as tx:
        calls = (
            world.rollouts.get(tx, rollout.id),
            world.rollouts.promote(tx, rollout.id, "mine"),
            world.rollouts.cancel(tx, rollout.id, "mine"),
            world.rollouts.rollback(tx, world.endpoint.id, "mine"),
            world.rollouts.begin(tx, world.endpoint.id, str(rollout.candidate_version_id), reason="mine"),
        )
        for call in calls:
            with pytest.raises(NotFound):
                await call
        assert (await world.rollouts.listed(tx)).data == []
        await world.conductor.advance(tx, rollout.id)
        await world.conductor.fail(tx, rollout.id, "mine")
        assert await world.conductor.awaited(tx, rollout.id) is None
    assert (await world.release(rollout.id)).rollout == rollout


async def test_releases_are_paged_and_filtered(world: World) -> None:
    version = await world.trained()
    for verdict in ("worse", "not enough data", "better"):
        await world.scored(version, verdict)
    async with world.tx() as tx:
        first = await world.rollouts.listed(tx, limit=2)
        rest = await world.rollouts.listed(tx, after=first.next, limit=2)
        assert [each.status for each in (*first.data, *rest.data)] == ["preparing", "declined", "declined"]
        assert rest.next is None
        declined = await world.rollouts.listed(tx, endpoint_id=world.endpoint.id, status="declined")
        assert len(declined.data) == 2
        assert (await world.rollouts.listed(tx, endpoint_id=uuid4())).data == []


async def test_errors_say_what_to_do(world: World) -> None:
    async with world.tx() as tx:
        with pytest.raises(CharkhaError) as error:
            await world.rollouts.get(tx, uuid4())
    assert "GET /releases" in error.value.remedy
