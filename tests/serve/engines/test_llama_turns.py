"""Blends take turns: one at a time, nobody waits for ever, nothing is left behind."""

import asyncio
from collections import Counter

import pytest

from charkha.serve.engines import llama_turns
from charkha.serve.engines.engine_fields import AdapterUse
from charkha.serve.engines.llama_turns import Blend, Turns, blend_of

pytestmark = pytest.mark.anyio

BASE: Blend = ()
OTHER: Blend = (("a" * 64, 1.0),)
THIRD: Blend = (("b" * 64, 1.0),)


class Watched:
    """Turns of four slots, and what ran together."""

    def __init__(self) -> None:
        self.turns, self.now, self.most = Turns(4), Counter[Blend](), 0
        self.order: list[Blend] = []

    async def ask(self, blend: Blend, seconds: float = 0.002, calls: int = 1) -> None:
        async with self.turns.turn(blend, calls):
            self.order.append(blend)
            self.now[blend] += calls
            assert len(+self.now) == 1, "two blends at once"
            self.most = max(self.most, self.now[blend])
            try:
                await asyncio.sleep(seconds)
            finally:
                self.now[blend] -= calls


async def test_requests_of_one_blend_share_the_slots() -> None:
    watched = Watched()
    await asyncio.gather(*(watched.ask(BASE) for _ in range(20)))
    assert watched.most == 4


async def test_a_rare_blend_gets_its_turn_amid_steady_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_turns, "PATIENCE", 0.01)
    watched, over = Watched(), False

    async def user() -> None:
        while not over:
            await watched.ask(BASE)

    users = [asyncio.create_task(user()) for _ in range(8)]
    await asyncio.sleep(0.02)
    async with asyncio.timeout(5):
        for _ in range(3):
            await watched.ask(OTHER)
            await watched.ask(THIRD)
    over = True
    await asyncio.gather(*users)
    assert watched.most == 4


async def test_who_came_before_an_overdue_waiter_is_not_held_back_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_turns, "PATIENCE", 0)
    watched = Watched()
    asked = [BASE] * 6 + [OTHER] * 2 + [BASE] * 2 + [THIRD]
    await asyncio.gather(*(watched.ask(blend) for blend in asked))
    assert watched.order == [BASE] * 6 + [OTHER] * 2 + [BASE] * 2 + [THIRD]


async def test_a_request_larger_than_all_slots_runs_alone() -> None:
    watched = Watched()
    await asyncio.gather(watched.ask(BASE), watched.ask(BASE, calls=9), watched.ask(BASE))
    assert watched.most == 9


async def test_one_that_leaves_while_it_waits_or_runs_frees_what_it_held() -> None:
    watched = Watched()
    running = asyncio.create_task(watched.ask(BASE, 60))
    waiting = asyncio.create_task(watched.ask(OTHER))
    behind = asyncio.create_task(watched.ask(THIRD))
    await asyncio.sleep(0.01)
    waiting.cancel()
    running.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(running, waiting, return_exceptions=True)
        await behind
        await watched.ask(BASE)


def test_a_blend_is_the_same_in_whichever_order() -> None:
    first, second = AdapterUse(id="a" * 64, weight=0.5), AdapterUse(id="b" * 64, weight=1.0)
    assert blend_of([first, second]) == blend_of([second, first])
    assert blend_of([first]) != blend_of([AdapterUse(id="a" * 64, weight=0.4)])
