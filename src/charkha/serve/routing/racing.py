"""Hedging: a way that is slow to begin its answer is not given up, but a second one is asked, and the first answer counts.

A hedge is spent from the retry budget of the engine that it goes to, so that slowness does not double the load.
"""

import asyncio
import time
from typing import Protocol

from charkha.serve.routing.health import Engines
from charkha.serve.routing.judgement import TryFailed
from charkha.serve.routing.ways import Answer, Journey, Way


class Tries(Protocol):
    """Who tries a way: see `router.Router`."""

    engines: Engines

    async def tried(self, journey: Journey[Answer], way: Way, *, again: bool = False) -> Answer:
        """One try."""
        ...


async def raced(router: Tries, journey: Journey[Answer], way: Way, *, again: bool) -> Answer:
    """A way's answer, or that of the hedge, whichever comes first; the other is given up. Raises what the way raised."""
    first = asyncio.create_task(router.tried(journey, way, again=again))
    running = {first: way}
    winner: asyncio.Task[Answer] | None = None
    try:
        await asyncio.wait(running, timeout=(journey.choice.routing.hedge_ms or 0) / 1000)
        other = None if first.done() else _hedge(router, journey, way)
        if other is not None:
            running[asyncio.create_task(router.tried(journey, other, again=True))] = other
        winner = await _first_answer(first, running)
        journey.health = router.engines[running[winner].target.engine]
        return winner.result()
    finally:
        await _give_up(router, journey, {each: by for each, by in running.items() if each is not winner})


async def _first_answer(
    first: "asyncio.Task[Answer]", running: dict["asyncio.Task[Answer]", Way]
) -> "asyncio.Task[Answer]":
    """The first that has an answer. Raises what `first` raised where none has one."""
    left = set(running)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for each in sorted(done, key=lambda each: each is not first):
            error = each.exception()
            if error is None:
                return each
            if each is first and not isinstance(error, TryFailed):
                raise error
    first.result()
    raise AssertionError("a try without an error has an answer")


def _hedge(router: Tries, journey: Journey[Answer], way: Way) -> Way | None:
    """The way that is asked besides: the next one, or the same again where it is alone; None without a budget for it."""
    now = time.monotonic()
    others = [each for each in journey.left if each is not way] or [way]
    for each in others:
        health = router.engines[each.target.engine]
        if health.available(now):
            return each if health.budget.take(now) else None
    return None


async def _give_up(router: Tries, journey: Journey[Answer], losers: dict["asyncio.Task[Answer]", Way]) -> None:
    for task in losers:
        task.cancel()
    ended = await asyncio.gather(*losers, return_exceptions=True)
    for way, result in zip(losers.values(), ended, strict=True):
        if not isinstance(result, BaseException):
            router.engines[way.target.engine].pending -= 1
            journey.discard(result)
