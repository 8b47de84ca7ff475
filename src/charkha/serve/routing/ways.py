"""The ways that may answer one request, in the order in which they are asked, and what has become of them so far."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from charkha.core.errors import CharkhaError
from charkha.govern.prices.domain import Price
from charkha.serve.bounds import Bound
from charkha.serve.routing.domain import PLAIN, Routing
from charkha.serve.routing.health import Health
from charkha.serve.routing.judgement import Verdict
from charkha.serve.targets import Target

Answer = TypeVar("Answer")
NOTHING = Bound(0, 0)


@dataclass(slots=True, eq=False)
class Way:
    """One way to answer a request: where it goes, what is sent there, the tokens it may take, and what they cost."""

    target: Target
    body: dict[str, Any]
    bound: Bound = NOTHING
    price: Price | None = None


@dataclass(slots=True, eq=False)
class Choice:
    """The ways in their order. `preferred` would be asked first if all were well; `skipped` says why it is not.

    `several`: the endpoint has more than one way, so each answer tells which it was. `fair_seconds`: an engine that has
    had so long for its first byte is to blame for having none.
    """

    ways: Sequence[Way]
    preferred: Way
    routing: Routing = PLAIN
    several: bool = False
    skipped: str | None = None
    fair_seconds: float = 120.0


class Journey(Generic[Answer]):
    """One request on its ways. `begin` asks one and returns its answer; `end` is called once, when all is over."""

    __slots__ = ("away", "begin", "choice", "departed", "discard", "error", "health", "left", "reasons", "tries")

    def __init__(
        self,
        choice: Choice,
        begin: Callable[[Way], Awaitable[Answer]],
        *,
        discard: Callable[[Answer], None] = lambda _: None,
        departed: Callable[[], bool] = lambda: False,
    ) -> None:
        """`discard` gives up an answer that another was faster than; `departed`: whether the client has gone away."""
        self.choice, self.begin, self.discard, self.departed = choice, begin, discard, departed
        self.left = list(choice.ways)
        self.tries = 0
        self.away: set[str] = set()
        self.error: CharkhaError | None = None
        self.reasons: dict[int, str] = {}
        self.health: Health | None = None

    def failed(self, way: Way, verdict: Verdict) -> None:
        """Note that a way has failed."""
        self.error = verdict.error
        self.reasons.setdefault(id(way), verdict.reason)

    def drop(self, way: Way) -> None:
        """Ask a way no more."""
        self.left = [each for each in self.left if each is not way]

    def degraded(self, way: Way) -> str | None:
        """Why it was this way and not the preferred one; None where it is that one."""
        preferred = self.choice.preferred
        if way is preferred:
            return None
        return self.reasons.get(id(preferred)) or self.choice.skipped or "slow"

    def end(self) -> None:
        """The answer has ended, one way or another: nothing is begun any more.

        What was to be called is let go: who made the journey holds it and stands behind these, and a circle of every request
        would be left to the garbage collector, which cost a fifth of the throughput.
        """
        if self.health is not None:
            self.health.pending -= 1
            self.health = None
        del self.begin, self.discard, self.departed

    def broke(self) -> None:
        """The engine has broken its answer off after its first byte had come."""
        if self.health is not None:
            self.health.breaker.failed(time.monotonic())
