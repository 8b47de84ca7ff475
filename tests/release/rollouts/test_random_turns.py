"""Random histories of an endpoint on a real database: judgements, people, and processes that die before they commit."""

import random

import pytest
import sqlalchemy as sa

from charkha.core.errors import Conflict
from charkha.release.rollouts.domain import ACTIVE, Rollout, split
from charkha.release.tables import rollouts as rollouts_table
from charkha.serve.tables import endpoints, plans
from tests.release.world import BAD, GOOD, World

pytestmark = pytest.mark.anyio


class Killed(Exception):
    """The process died; its transaction never commits."""


class History:
    """Takes random turns, each of which a kill may undo."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.rng = world, random.Random(seed)

    async def turn(self) -> None:
        """One thing that can happen, if it can happen now."""
        act = self.rng.choice([self.begin, self.prepare, self.judge, self.judge, self.judge, self.move, self.roll_back])
        killed = self.rng.random() < 0.3
        try:
            async with self.world.tx() as tx:
                await act(tx, await self.newest())
                if killed:
                    raise Killed
        except (Killed, Conflict):
            return

    async def newest(self) -> Rollout | None:
        """The newest rollout."""
        async with self.world.tx() as tx:
            found = await self.world.rollouts.listed(tx, limit=1)
        return found.data[0] if found.data else None

    async def begin(self, tx, newest) -> None:  # type: ignore[no-untyped-def]
        version = self.rng.choice(["support@1", "support@2", "tiny@0"])
        await self.world.rollouts.begin(tx, self.world.endpoint.id, version, reason="turn", steps=[20, 50, 100])

    async def prepare(self, tx, newest) -> None:  # type: ignore[no-untyped-def]
        if newest:
            await self.world.conductor.start(tx, newest.id)

    async def judge(self, tx, newest) -> None:  # type: ignore[no-untyped-def]
        if newest and newest.candidate_variant_id:
            scores = self.rng.choice([(GOOD, BAD), (GOOD, BAD), (BAD, GOOD), (None, None)])
            for _ in range(12):
                self.world.outcomes.add(newest.baseline_variant_id, scores[1], times=4)
                self.world.outcomes.add(newest.candidate_variant_id, scores[0])
            await self.world.conductor.advance(tx, newest.id)

    async def move(self, tx, newest) -> None:  # type: ignore[no-untyped-def]
        if newest and newest.candidate_variant_id and self.rng.random() < 0.3:
            live = await self.world.endpoints.live(tx, self.world.endpoint.id)
            shares = split(newest.baseline_variant_id, newest.candidate_variant_id, self.rng.choice([0, 30, 100]))
            await self.world.endpoints.swap(
                tx, self.world.endpoint.id, expected_plan_id=live.id, shares=shares, reason="by hand"
            )

    async def roll_back(self, tx, newest) -> None:  # type: ignore[no-untyped-def]
        await self.world.rollouts.rollback(tx, self.world.endpoint.id, "turn")


async def whole(world: World) -> None:
    """One live plan, shares of 100, one rollout under way at most, and a running one stands on a plan that there is."""
    await world.live()
    async with world.tx() as tx:
        live = await tx.all(sa.select(endpoints.c.live_plan_id))
        assert len(live) == 1
        known = {row.id for row in await tx.all(sa.select(plans.c.id))}
        rows = await tx.all(sa.select(rollouts_table))
    assert live[0].live_plan_id in known
    under_way = [row for row in rows if row.status in ACTIVE]
    assert len(under_way) <= 1
    shares = await world.shares()
    for row in under_way:
        assert row.plan_id in known
        if row.status == "running" and row.plan_id == live[0].live_plan_id:
            assert shares[row.candidate_variant_id] == row.share


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_one_plan_is_live_and_whole(world: World, seed: int) -> None:
    await world.trained(b"one")
    await world.trained(b"two")
    history = History(world, seed)
    for _ in range(60):
        await history.turn()
        await whole(world)
    async with world.tx() as tx:
        ended = {row.status for row in await tx.all(sa.select(rollouts_table.c.status))}
    assert ended & {"promoted", "rolled_back", "superseded"}, ended
