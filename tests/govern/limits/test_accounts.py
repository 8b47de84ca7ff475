"""One limit in one process, against books that do what a test says: windows that begin, books that are dry or gone."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from charkha.core.errors import LimitReached, Unavailable
from charkha.govern.limits import accounts
from charkha.govern.limits.accounts import Account
from charkha.govern.limits.domain import Limit, Span
from charkha.govern.limits.leases import Granted

pytestmark = pytest.mark.anyio
MINUTE = 60_000_000  # a whole minute since the epoch


class Clock:
    """The time of `time`, which stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = float(MINUTE)

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Books:
    """Leases in memory: `free` units a window."""

    holder = "test"

    def __init__(self, free: int) -> None:
        self.free, self.held = free, dict[int, int]()
        self.asked: list[tuple[int, int]] = []
        self.is_gone = False

    async def grant(self, limit: Limit, span: Span, need: int, size: int) -> Granted:
        self.asked.append((span.start, need))
        if self.is_gone:
            raise Unavailable("gone")
        held = self.held.get(span.start, 0)
        units = min(max(need, size), self.free - held)
        self.held[span.start] = held + units
        return Granted(held + units, self.free - held - units)

    async def give_back(self, limit: Limit, start: int, units: int) -> None:
        self.held[start] -= units


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(accounts, "time", clock)
    return clock


def account(measure: Any = "requests", window: Any = "minute", amount: int = 1_000, **more: Any) -> Account:
    values = {"currency": None, "created_at": datetime.now(UTC), "workspace_id": uuid4(), "subject_id": uuid4(), **more}
    return Account(Limit(id=uuid4(), subject="key", measure=measure, window=window, amount=amount, **values))


async def test_the_next_window_is_leased_before_it_begins(clock: Clock) -> None:
    books: Any = Books(100)
    held = account()
    await held.refill(books, 1)
    part = held.current(clock.now)
    assert part is not None
    held.prepare_next(books, clock.now)
    assert held.task is None, "nothing was drawn: the next window can wait"
    part.drawn = 1
    held.prepare_next(books, clock.now)
    assert held.task is not None
    await held.task
    clock.now += 60
    following = held.current(clock.now)
    assert following is not None
    assert (following.start, following.available) == (MINUTE + 60, books.held[MINUTE + 60])
    assert following is not part
    clock.now += 600
    assert held.current(clock.now) is None


async def test_dry_books_are_asked_again_in_the_background_once_a_second(clock: Clock) -> None:
    books: Any = Books(3)
    held = account(amount=3)
    await held.refill(books, 5)
    part = held.current(clock.now)
    assert part is not None
    part.available = 0
    for _ in range(3):
        with pytest.raises(LimitReached) as caught:
            held.require_more(books, 1, clock.now)
        assert caught.value.retry_after == 60
    assert len(books.asked) == 1
    clock.now += 1.5
    books.held[MINUTE] -= 2
    part.granted -= 2  # two were handed back
    with pytest.raises(LimitReached):
        held.require_more(books, 1, clock.now)
    assert held.task is not None
    await held.task
    assert part.available == 2


async def test_books_that_are_gone_are_left_alone_for_a_second(clock: Clock) -> None:
    books: Any = Books(100)
    books.is_gone = True
    held = account()
    await asyncio.wait([held.refill(books, 1)])
    with pytest.raises(Unavailable) as caught:
        held.require_more(books, 1, clock.now)
    assert caught.value.code == "limits_unavailable"
    assert not held.is_cold(clock.now)
    books.is_gone, clock.now = False, clock.now + 2
    held.require_more(books, 1, clock.now)
    await held.refill(books, 1)
    assert held.remaining(clock.now) > 0


@pytest.mark.parametrize(
    ("held", "code", "wait", "told"),
    [
        (account(), "rate_limit_exceeded", 60, "1,000 requests a minute"),
        (account(window="total"), "insufficient_quota", 3_600, "1,000 requests in all"),
        (account("concurrency", "total", 8), "rate_limit_exceeded", 1, "8 requests at once"),
        (account("money", "total", 2_500_000, currency="EUR"), "insufficient_quota", 3_600, "2.5 EUR in all"),
    ],
)
def test_a_refusal_says_what_is_reached_and_when_to_come_again(
    clock: Clock, held: Account, code: str, wait: int, told: str
) -> None:
    refusal = held.reached(1, clock.now)
    assert (refusal.status, refusal.code, refusal.retry_after) == (429, code, wait)
    assert told in refusal.message
    assert refusal.remedy


async def test_a_burst_leases_once_for_all_who_wait() -> None:
    books: Any = Books(10_000)
    held, began = account(amount=10_000), time.monotonic()
    tasks = {held.refill(books, 10) for _ in range(64)}
    assert len(tasks) == 1
    await asyncio.wait(tasks)
    assert books.asked[0][1] == 640
    assert held.remaining(time.time()) >= 640
    assert time.monotonic() - began < 5
