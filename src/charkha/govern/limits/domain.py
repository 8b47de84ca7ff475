"""The arithmetic of limits: windows, leases and what is left of them. Pure: no clock, no database, integers alone.

A window of a limit is a *pool* of `amount` units. Gateway processes lease parts of it before they spend; what is leased
and was not handed back counts as spent. So the sum of what is spent never passes the amount, whoever dies and when.
"""

from calendar import timegm
from datetime import datetime
from time import gmtime
from typing import Literal, NamedTuple, get_args
from uuid import UUID

import msgspec

Subject = Literal["organisation", "workspace", "key"]
Measure = Literal["requests", "tokens", "money", "concurrency"]
Window = Literal["minute", "hour", "day", "month", "total"]
SUBJECTS, MEASURES, WINDOWS = get_args(Subject), get_args(Measure), get_args(Window)
REQUESTS, TOKENS, MONEY, CONCURRENCY = range(4)
"""A measure's place in a need."""

Need = tuple[int, int, int, int]
"""Units of each measure that one request asks for: 1 request, tokens, micro-units of money, 1 permit."""

FOREVER = 2**62
_SECONDS = {"minute": 60, "hour": 3_600, "day": 86_400}
_SHARE = 8
_FIRST = 8
_HURRY_SECONDS, _EASE_SECONDS = 2.0, 10.0


class Limit(msgspec.Struct, frozen=True):
    """How much of a measure a subject may use in each window.

    `amount` counts requests, tokens, permits, or micro-units (millionths) of `currency`, which only money has.
    """

    id: UUID
    workspace_id: UUID
    subject: Subject
    subject_id: UUID
    measure: Measure
    window: Window
    amount: int
    currency: str | None
    created_at: datetime

    def __str__(self) -> str:
        period = "" if self.measure == "concurrency" else " in all" if self.window == "total" else f" a {self.window}"
        return amount_text(self.amount, self) + period


def amount_text(units: int, limit: Limit) -> str:
    """Units of a limit as people read them: `1,000 tokens`, `2.5 EUR`, `8 requests at once`."""
    if limit.measure == "money":
        return f"{units / 1e6:,.6f}".rstrip("0").rstrip(".") + f" {limit.currency}"
    return f"{units:,} {'requests at once' if limit.measure == 'concurrency' else limit.measure}"


class Span(NamedTuple):
    """A window's begin and end, in seconds since the epoch; the end is excluded."""

    start: int
    end: int


def window_at(window: Window, seconds: float) -> Span:
    """The window that an instant lies in. Windows follow the calendar in UTC; "total" has one for all time."""
    if window == "total":
        return Span(0, FOREVER)
    if window == "month":
        now = gmtime(seconds)
        first = timegm((now.tm_year, now.tm_mon, 1, 0, 0, 0))
        following = (now.tm_year + now.tm_mon // 12, now.tm_mon % 12 + 1)
        return Span(first, timegm((*following, 1, 0, 0, 0)))
    length = _SECONDS[window]
    start = int(seconds // length) * length
    return Span(start, start + length)


def span_of(limit: Limit, seconds: float) -> Span:
    """The window of a limit at an instant: permits for requests in flight know no time."""
    return window_at("total" if limit.measure == "concurrency" else limit.window, seconds)


def grant(amount: int, leased: int, need: int, size: int) -> int:
    """Units to lease to a process that lacks `need` and would like `size`, from a pool of which `leased` are gone.

    At most an eighth of what is free beyond what is needed now, so that others find something too.
    """
    free = max(0, amount - leased)
    return min(free, max(need, min(free // _SHARE, size)))


def next_size(size: int, need: int, elapsed: float) -> int:
    """How much to ask for next: twice as much when the last lease was soon used up, half of it when it lasted long."""
    if elapsed < _HURRY_SECONDS:
        size *= 2
    elif elapsed > _EASE_SECONDS:
        size //= 2
    return max(size, need * _FIRST, 1)


def surplus(available: int, drawn: int) -> int:
    """What a process hands back of its lease after a while in which it drew `drawn` units."""
    return max(0, available - 2 * drawn)


class Slice:
    """What one process holds of one window: `available` of the `granted` units are neither spent nor reserved."""

    __slots__ = ("available", "drawn", "end", "granted", "limit_id", "low", "start")

    def __init__(self, limit_id: UUID, span: Span) -> None:
        self.limit_id, self.start, self.end = limit_id, span.start, span.end
        self.granted = self.available = self.drawn = 0
        self.low = -1

    def learn(self, granted: int) -> int:
        """Take over how much the pool says is leased to us in all; returns the change.

        It is the whole and no difference, so a lease whose answer was lost is found again by the next one.
        """
        change = granted - self.granted
        self.granted, self.available = granted, self.available + change
        self.low = self.available // 2
        return change

    def give_back(self, units: int) -> None:
        """Let go of units before the pool is told: whatever becomes of the telling, they are not spent here."""
        self.granted -= units
        self.available -= units
        self.low = min(self.low, self.available // 2)


class Pool:
    """A window as the database keeps it: `leased` units of `amount` are gone, `leases` says to whom. A model for tests
    and for reading: `leases.py` does the same with rows."""

    def __init__(self, amount: int) -> None:
        self.amount, self.leased = amount, 0
        self.leases: dict[str, int] = {}

    def lease(self, holder: str, need: int, size: int) -> int:
        """Lease more to a holder; returns how much it holds now."""
        units = grant(self.amount, self.leased, need, size)
        self.leased += units
        self.leases[holder] = self.leases.get(holder, 0) + units
        return self.leases[holder]

    def take_back(self, holder: str, units: int) -> None:
        """Take back what a living holder let go of."""
        held = self.leases.get(holder, 0)
        if units <= held:
            self.leases[holder] = held - units
            self.leased -= units

    def bury(self, holder: str, replayed: int) -> None:
        """A holder is dead and its spool replayed: what it did not use comes back, what it used stays spent."""
        self.leased -= max(0, self.leases.pop(holder, 0) - replayed)
