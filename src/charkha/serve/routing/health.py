"""What a gateway process knows of each engine: its breaker, its retry budget, requests in flight, time to first byte."""

import time
from collections.abc import Mapping
from typing import Any

from charkha.serve.routing.breaker import PROBE, REFUSED, Breaker, Pass
from charkha.serve.routing.budget import RetryBudget

SMOOTHING, STALE_SECONDS = 0.2, 30.0
MOST_MODELS = 256
"""Of one engine, whose latency is told apart; beyond, they are forgotten and measured anew."""


class Latency:
    """An exponentially weighted mean of times to the first byte, in seconds; None before the first."""

    __slots__ = ("at", "value")

    def __init__(self) -> None:
        self.value: float | None = None
        self.at = 0.0

    def add(self, seconds: float, now: float) -> None:
        """Take a measurement in."""
        value = self.value
        self.value = seconds if value is None else value + SMOOTHING * (seconds - value)
        self.at = now


class Health:
    """One engine. `gone_since` is the instant since which it cannot be reached, None while it can.

    `guarded`: somebody else finds out whether it is back, so no request does.
    """

    __slots__ = ("_models", "breaker", "budget", "gone_since", "guarded", "latency", "pending", "resting_until")

    def __init__(self, now: float) -> None:
        self.breaker, self.budget = Breaker(), RetryBudget(now)
        self.latency, self._models = Latency(), dict[str, Latency]()
        self.pending, self.resting_until = 0, 0.0
        self.gone_since: float | None = None
        self.guarded = False

    def enter(self, now: float) -> Pass:
        """Whether a request may go there now; see `Breaker.enter`."""
        entered = self.breaker.enter(now)
        if entered == PROBE and self.guarded:
            self.breaker.abandoned(PROBE)
            return REFUSED
        return entered

    def of_model(self, model: str) -> Latency:
        """The latency of one of the engine's models."""
        found = self._models.get(model)
        if found is None:
            if len(self._models) >= MOST_MODELS:
                self._models.clear()
            found = self._models[model] = Latency()
        return found

    def expected(self, model: str, now: float) -> float | None:
        """Seconds to the first byte, as far as known; None lets a request find out, which one at a time does."""
        latency = self.of_model(model)
        if latency.value is None:
            return float("inf") if self.pending else None
        return None if now - latency.at > STALE_SECONDS and not self.pending else latency.value

    def available(self, now: float) -> bool:
        """Whether requests may go there now."""
        if now < self.resting_until or not self.breaker.admits(now):
            return False
        return not self.guarded or self.breaker.state(now) == "closed"

    def why_not(self, now: float) -> str:
        """Why it is not available."""
        return "rate_limited" if now < self.resting_until else "breaker_open"

    def may_return(self, now: float, patience: float) -> bool:
        """Whether it went away so recently that it may just be restarting."""
        return self.gone_since is not None and now - self.gone_since < patience

    def told(self, now: float) -> dict[str, Any]:
        """What operators are told: the breaker's state, requests in flight, milliseconds to the first byte."""
        value = self.latency.value
        return {
            "breaker": self.breaker.state(now),
            "pending": self.pending,
            "first_byte_ms": None if value is None else round(value * 1000, 1),
        }


class Engines:
    """All engines that requests have gone to, by name."""

    def __init__(self) -> None:
        self._known: dict[str, Health] = {}

    def __getitem__(self, name: str) -> Health:
        health = self._known.get(name)
        if health is None:
            health = self._known[name] = Health(time.monotonic())
        return health

    def told(self) -> Mapping[str, dict[str, Any]]:
        """What operators are told of each."""
        now = time.monotonic()
        return {name: health.told(now) for name, health in sorted(self._known.items())}
