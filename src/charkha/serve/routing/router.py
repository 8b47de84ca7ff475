"""Brings a request to an answer along its ways: tried again under a budget, elsewhere after a failure, hedged if asked to.

Nothing has been sent to the client while a way is tried, so whatever fails here the client never sees. Owns the waiting:
for an engine that restarts, between two tries, for a first byte.
"""

import asyncio
import math
import random
import time

from charkha.serve.routing.breaker import PROBE, Pass
from charkha.serve.routing.health import Engines, Health
from charkha.serve.routing.judgement import BreakerOpen, NoFirstByte, TryFailed, Verdict, judged
from charkha.serve.routing.racing import raced
from charkha.serve.routing.ways import Answer, Journey, Way
from charkha.serve.upstream import EngineThrottles

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
_BACKOFF, _LONGEST_BACKOFF, _LONGEST_REST = 0.05, 1.0, 60.0
_NEARLY = 0.95
"""A deadline is a little shorter for a try than for its request."""


class Router:
    """Tries ways. `patience` is how long, in seconds, an engine may take to come back."""

    def __init__(self, engines: Engines, *, patience: float) -> None:
        self.engines, self._patience = engines, patience

    async def answer(self, journey: Journey[Answer]) -> Answer:
        """The first answer that a way gives. Raises the error of the last that failed; call `journey.end` after it."""
        give_up, pause = time.monotonic() + self._patience, FIRST_PAUSE
        while True:
            for way in tuple(journey.left):
                if way not in journey.left:  # a hedge has failed there meanwhile
                    continue
                try:
                    return await self._at(journey, way)
                except TryFailed:
                    pass  # noted in the journey
            left = give_up - time.monotonic()
            if not journey.left or left <= 0:
                assert journey.error is not None, "a way that is left alone has failed"
                raise journey.error
            await asyncio.sleep(min(pause * random.uniform(0.5, 1.0), left))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _at(self, journey: Journey[Answer], way: Way) -> Answer:
        """A way's answer, at the first try or at one of the next. Raises TryFailed; a way that may return is not dropped."""
        hedged, tries = journey.choice.routing.hedge_ms is not None, 0
        while True:
            try:
                if hedged:
                    return await raced(self, journey, way, again=tries > 0)
                answer = await self.tried(journey, way, again=tries > 0)
                journey.health = self.engines[way.target.engine]
                return answer
            except TryFailed as failed:
                pause = self._pause(journey, way, failed.verdict, tries)
                if pause is None:
                    raise
            tries += 1
            await asyncio.sleep(pause)

    def _pause(self, journey: Journey[Answer], way: Way, verdict: Verdict, tries: int) -> float | None:
        """Seconds until a way is tried again; None where it is not, for now or for good."""
        if verdict.then == "wait":
            return None
        rest = verdict.error.rest if isinstance(verdict.error, EngineThrottles) else None
        elsewhere = len(journey.left) > 1 and (verdict.gone or rest is not None)
        again = verdict.then == "retry" and not elsewhere and tries < journey.choice.routing.retries
        if again and self.engines[way.target.engine].budget.take(time.monotonic()):
            return (rest or 0.0) + random.uniform(0, min(_BACKOFF * 2.0**tries, _LONGEST_BACKOFF))
        journey.drop(way)
        return None

    async def tried(self, journey: Journey[Answer], way: Way, *, again: bool = False) -> Answer:
        """One try; whoever gets its answer is counted as pending. Raises TryFailed, or what the client is to be told."""
        health, began = self.engines[way.target.engine], time.monotonic()
        entered = health.enter(began)
        if not entered:
            raise self._refused(journey, way, health, began)
        journey.tries += 1
        health.pending += 1
        if not again:
            health.budget.request()
        try:
            answer = await self._begun(journey, way)
        except Exception as error:
            health.pending -= 1
            raise self._failed(journey, way, entered, began, error) from error
        except asyncio.CancelledError:
            health.pending -= 1
            self._cut(journey, health, entered, began)
            raise
        _succeeded(journey, way, health, entered, began)
        return answer

    async def _begun(self, journey: Journey[Answer], way: Way) -> Answer:
        seconds = journey.choice.routing.first_token_seconds
        if seconds is None:
            return await journey.begin(way)
        try:
            async with asyncio.timeout(seconds) as timeout:
                return await journey.begin(way)
        except TimeoutError as error:
            if not timeout.expired():
                raise
            raise NoFirstByte(
                f"The engine '{way.target.engine}' sent nothing within {seconds:g} seconds.",
                remedy="Ask for less, or try again.",
            ) from error

    def _refused(self, journey: Journey[Answer], way: Way, health: Health, now: float) -> TryFailed:
        """The breaker lets nobody through: wait for an engine that may be restarting, go elsewhere from any other."""
        error = BreakerOpen(
            f"The engine '{way.target.engine}' has failed too often and is not asked now.",
            remedy="Try again later; `charkha engines states` tells how it is.",
        )
        error.retry_after = max(1, math.ceil(health.breaker.opens_in(now)))
        waits = health.may_return(now, self._patience)
        verdict = Verdict(error, "breaker_open", "wait" if waits else "other")
        journey.failed(way, verdict)
        return TryFailed(verdict)

    def _failed(self, journey: Journey[Answer], way: Way, entered: Pass, began: float, error: Exception) -> Exception:
        """What is raised for a failure, once its engine has been judged by it."""
        health, now = self.engines[way.target.engine], time.monotonic()
        verdict = judged(error, way.target.engine)
        if verdict is None:
            health.breaker.abandoned(entered)
            return error
        if isinstance(error, EngineThrottles) and error.rest is not None:
            health.resting_until = now + min(error.rest, _LONGEST_REST)
        if verdict.gone:
            self._gone(journey, way, health, entered, now)
        elif verdict.blamed:
            health.breaker.failed(now, entered)
        elif isinstance(error, NoFirstByte):
            self._cut(journey, health, entered, began)
        else:
            health.breaker.succeeded(now, entered)
        if verdict.then == "tell":
            return verdict.error
        journey.failed(way, verdict)
        if verdict.then == "other":
            journey.drop(way)
        return TryFailed(verdict)

    def _gone(self, journey: Journey[Answer], way: Way, health: Health, entered: Pass, now: float) -> None:
        """An engine cannot be reached. It counts once for each request, and a probe of one that may restart not at all."""
        if health.gone_since is None:
            health.gone_since = now
        if entered == PROBE and health.may_return(now, self._patience):
            health.breaker.abandoned(entered)
        elif entered == PROBE or way.target.engine not in journey.away:
            health.breaker.failed(now, entered)
        journey.away.add(way.target.engine)

    def _cut(self, journey: Journey[Answer], health: Health, entered: Pass, began: float) -> None:
        """A try was given up before its first byte. The engine is to blame if it had all the time that there is."""
        now = time.monotonic()
        if not journey.departed() and now - began >= journey.choice.fair_seconds * _NEARLY:
            health.breaker.failed(now, entered)
        else:
            health.breaker.abandoned(entered)


def _succeeded(journey: Journey[Answer], way: Way, health: Health, entered: Pass, began: float) -> None:
    now = time.monotonic()
    health.breaker.succeeded(now, entered)
    health.gone_since = None
    health.latency.add(now - began, now)
    if journey.choice.several:
        health.of_model(way.target.model).add(now - began, now)
