"""A circuit breaker: refuses an engine that fails too often, and lets one request at a time find out whether it is back.

Pure: the caller passes the instant in (seconds of one clock that never goes back). Closed, it counts what succeeded and
what failed in a sliding window; open, it lets nothing through until a pause is over; half open, it lets one probe
through at a time, whose end closes it or opens it again, for twice as long.
"""

from typing import Literal, NamedTuple

State = Literal["closed", "open", "half_open"]
Pass = Literal[0, 1, 2]
REFUSED: Pass = 0
ORDINARY: Pass = 1
PROBE: Pass = 2
"""What `enter` says: not let through; let through; let through to find out. Truth tells whether it was let through."""

_SLOTS = 10


class Thresholds(NamedTuple):
    """When a breaker opens: `share` of at least `minimum` results within `window` seconds failed.

    It stays open for `pause` seconds, and for twice as long after each failed probe, up to `longest`.
    """

    window: float = 30.0
    minimum: int = 5
    share: float = 0.5
    pause: float = 0.5
    longest: float = 30.0


class Breaker:
    """The breaker of one engine. Who was let through reports once: `succeeded`, `failed` or `abandoned`."""

    __slots__ = ("_bad", "_good", "_limits", "_open", "_opened", "_pause", "_per_second", "_probing", "_slot", "_sums")

    def __init__(self, thresholds: Thresholds = Thresholds()) -> None:
        self._limits, self._per_second = thresholds, _SLOTS / thresholds.window
        self._pause, self._opened, self._open, self._probing = thresholds.pause, 0.0, False, False
        self._good, self._bad, self._sums, self._slot = [0] * _SLOTS, [0] * _SLOTS, [0, 0], 0

    def enter(self, now: float) -> Pass:
        """Whether a request may go to the engine now; a PROBE keeps others out until it has reported."""
        if not self._open:
            return ORDINARY
        if self._probing or now < self._opened + self._pause:
            return REFUSED
        self._probing = True
        return PROBE

    def admits(self, now: float) -> bool:
        """Whether `enter` would let a request through; changes nothing."""
        return not self._open or (not self._probing and now >= self._opened + self._pause)

    def succeeded(self, now: float, entered: Pass = ORDINARY) -> None:
        """The engine answered. A probe that did closes the breaker."""
        if not self._open:
            self._count(self._good, now)
            self._sums[0] += 1
        elif entered == PROBE:
            self._open, self._probing, self._pause = False, False, self._limits.pause
            self._forget(int(now * self._per_second))

    def failed(self, now: float, entered: Pass = ORDINARY) -> None:
        """The engine failed. What was let through before the breaker opened says nothing new once it is open."""
        if not self._open:
            self._count(self._bad, now)
            self._sums[1] += 1
            good, bad = self._sums
            if good + bad >= self._limits.minimum and bad >= self._limits.share * (good + bad):
                self._open, self._opened = True, now
        elif entered == PROBE:
            self._probing, self._opened = False, now
            self._pause = min(self._pause * 2, self._limits.longest)

    def abandoned(self, entered: Pass) -> None:
        """Nobody knows how it ended: the place of a probe is free again."""
        if entered == PROBE:
            self._probing = False

    def state(self, now: float) -> State:
        """What it is now."""
        if not self._open:
            return "closed"
        return "half_open" if self._probing or now >= self._opened + self._pause else "open"

    def opens_in(self, now: float) -> float:
        """Seconds until it lets a probe through, 0 where it lets requests through."""
        return max(0.0, self._opened + self._pause - now) if self._open else 0.0

    def _count(self, kind: list[int], now: float) -> None:
        slot = int(now * self._per_second)
        if slot != self._slot:
            self._slide(slot)
        kind[slot % _SLOTS] += 1

    def _slide(self, slot: int) -> None:
        """Drop what has left the window."""
        for passed in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            place = passed % _SLOTS
            self._sums[0] -= self._good[place]
            self._sums[1] -= self._bad[place]
            self._good[place] = self._bad[place] = 0
        self._slot = slot

    def _forget(self, slot: int) -> None:
        self._good, self._bad, self._sums, self._slot = [0] * _SLOTS, [0] * _SLOTS, [0, 0], slot
