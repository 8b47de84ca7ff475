"""Which ways may answer a request, in which order, and the most that any of them can cost. Reads memory alone.

A variant with one way and no conditions costs a look at its price; everything else is for those that have more.
"""

import time
from collections.abc import Callable, Collection
from typing import Any

from charkha.core.errors import Unavailable
from charkha.govern.keyring import Principal
from charkha.govern.limits.meter import Hold, Meter, Tally
from charkha.govern.prices.domain import Price
from charkha.serve.admission import Order
from charkha.serve.bounds import Bound, bound
from charkha.serve.counting import estimate
from charkha.serve.routing.domain import Facts, fitting, order
from charkha.serve.routing.health import Engines
from charkha.serve.routing.ways import Choice, Way
from charkha.serve.targets import Target

_BYTES_A_TOKEN = 4
FAIR_STREAM_SECONDS = 10.0
"""A stream that has not begun by then is the engine's fault; a whole answer may take all the time that there is."""


class Drained(Unavailable):
    """Somebody has taken the engine out of service, for a while."""

    code = "engine_drained"


class Planner:
    """Chooses ways. `drained` tells the names of the engines that get no new requests."""

    def __init__(
        self, engines: Engines, meter: Meter, drained: Callable[[], Collection[str]], *, request_seconds: float
    ) -> None:
        """`request_seconds` is how long a request may take at most."""
        self._engines, self._meter, self._drained = engines, meter, drained
        self._seconds = request_seconds

    def choose(self, caller: Principal, asked: Order, size: int, tally: Tally) -> Choice:
        """The ways of a request whose body came in `size` bytes. Raises Invalid where none fits, Unavailable for drained."""
        target, drained = asked.request.target, self._drained()
        fair = min(FAIR_STREAM_SECONDS, self._seconds) if asked.request.stream else self._seconds
        if not target.alternatives and target.reach.context_tokens is None and not target.reach.tasks:
            if drained and target.engine in drained:
                raise _all_drained([target])
            way = self._way(caller, asked, target, size, tally)
            return Choice((way,), way, target.routing, fair_seconds=fair)
        return self._among(caller, asked, size, tally, drained, fair)

    def _among(
        self, caller: Principal, asked: Order, size: int, tally: Tally, drained: Collection[str], fair: float
    ) -> Choice:
        own = asked.request.target
        targets = (own, *own.alternatives)
        places = fitting(
            [each.reach for each in targets], endpoint=own.endpoint, task=asked.task, tokens=_tokens(asked, size)
        )
        groups = [0 if targets[place].reach.tasks else 1 for place in places]
        ways = [self._way(caller, asked, targets[place], size, tally) for place in places]
        facts = self._facts(ways, size)
        blind = [fact._replace(available=True) for fact in facts]
        preferred = ways[order(own.routing.order, blind, groups=groups)[0]]
        usable = [ways[place] for place in order(own.routing.order, facts, groups=groups)]
        usable = [way for way in usable if way.target.engine not in drained]
        if not usable:
            raise _all_drained([way.target for way in ways])
        skipped = None if usable[0] is preferred else self._why_not(preferred.target.engine, drained)
        return Choice(usable, preferred, own.routing, bool(own.alternatives), skipped, fair)

    def _why_not(self, engine: str, drained: Collection[str]) -> str:
        return "drained" if engine in drained else self._engines[engine].why_not(time.monotonic())

    def _way(self, caller: Principal, asked: Order, target: Target, size: int, tally: Tally) -> Way:
        own = asked.request.target
        body = asked.body if target is own else asked.body_for(model=target.model, parameters=target.parameters)
        most = bound(body, asked.request.operation, size, own.system_prompt, spends=tally.spends)
        return Way(target, body, most, self._meter.price(caller, target.engine, target.model))

    def _facts(self, ways: list[Way], size: int) -> list[Facts]:
        now, currency = time.monotonic(), next((way.price.currency for way in ways if way.price), None)
        return [self._fact(way, now, currency, size) for way in ways]

    def _fact(self, way: Way, now: float, currency: str | None, size: int) -> Facts:
        health, price = self._engines[way.target.engine], way.price
        comparable = price is not None and price.currency == currency
        cost = price.of(size // _BYTES_A_TOKEN, way.bound.completion) if price is not None and comparable else None
        return Facts(cost, health.expected(way.target.model, now), health.pending, health.available(now))


def dearest(choice: Choice, tally: Tally) -> tuple[Bound, Price | None]:
    """The most tokens that any of the ways takes, and the price at which these cost the most.

    Where money is limited, a way without a price in its currency stands for all: the request cannot be bounded.
    """
    ways = choice.ways
    if len(ways) == 1 or not tally.accounts:
        return ways[0].bound, ways[0].price
    most = Bound(max(way.bound.prompt for way in ways), max(way.bound.completion for way in ways))
    prices = [way.price for way in ways]
    for price in prices:
        if tally.currencies and (price is None or price.currency not in tally.currencies):
            return most, price
    known = [price for price in prices if price is not None]
    return most, max(known, key=lambda price: price.of(*most), default=None)


async def reserved(meter: Meter, choice: Choice, tally: Tally) -> Hold:
    """What a request's limits have reserved of the most that it may use. Raises LimitReached, PriceMissing."""
    most, price = dearest(choice, tally)
    hold = meter.hold(tally, *most, price)
    return hold if hold is not None else await meter.wait(tally, *most, price)


def _tokens(asked: Order, size: int) -> int:
    """Roughly what a request needs of a context: its prompt, and the answer that it asks for."""
    body: dict[str, Any] = asked.body
    prompt = estimate(body) if asked.request.operation == "chat" else size // _BYTES_A_TOKEN
    asked_for: int = max(body.get("max_tokens", 0), body.get("max_completion_tokens", 0))
    return prompt + asked_for


def _all_drained(targets: list[Target]) -> Drained:
    names = sorted({target.engine for target in targets})
    told = f"The engine '{names[0]}' is" if len(names) == 1 else f"The engines {', '.join(names)} are"
    return Drained(
        f"{told} drained: new requests are not taken.", remedy=f"`charkha engines resume {names[0]}` ends that."
    )
