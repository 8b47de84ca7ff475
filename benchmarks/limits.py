"""What limits cost a request on the hot path: `python -m benchmarks limits`. No database: the slices suffice.

A limited key has four limits (requests and tokens a minute, money a month, requests at once) and a priced model.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from benchmarks.report import write
from charkha.govern.keyring import Principal
from charkha.govern.limits.domain import Limit
from charkha.govern.limits.leases import Granted, Leases
from charkha.govern.limits.meter import Meter
from charkha.govern.limits.store import LIMITS
from charkha.govern.prices.domain import Price
from charkha.govern.prices.service import PRICES

ROUNDS, REPEATS = 20_000, 7
NOW = datetime.now(UTC)
KEY, WORKSPACE, ORGANISATION = uuid4(), uuid4(), uuid4()
CALLER = Principal(f"key:{KEY}", ORGANISATION, WORKSPACE, frozenset())


class Books(Leases):
    """Leases without a database: as much as is asked for."""

    def __init__(self) -> None:
        self.holder = "bench"

    async def grant(self, *_: object) -> Granted:
        """Plenty."""
        return Granted(10**15, 10**15)


class Picture:
    """A snapshot that was read."""

    def __init__(self, **parts: Any) -> None:
        self._parts = parts

    def get(self, name: str) -> Any:
        """A part of it."""
        return self._parts[name]


def limit(subject: Any, subject_id: UUID, measure: Any, window: Any, currency: str | None = None) -> Limit:
    """A limit that is never reached."""
    return Limit(uuid4(), WORKSPACE, subject, subject_id, measure, window, 10**15, currency, NOW)


def picture(*, is_limited: bool) -> Picture:
    """The limits and prices of the caller, or none."""
    if not is_limited:
        return Picture(**{LIMITS: {}, PRICES: {}})
    price = Price(uuid4(), "workspace", "local", "tiny", "EUR", 10**6, 3 * 10**6, NOW, None, NOW)
    of_key = (limit("key", KEY, "requests", "minute"), limit("key", KEY, "concurrency", "total"))
    of_workspace = (limit("workspace", WORKSPACE, "tokens", "minute"),)
    of_organisation = (limit("organisation", ORGANISATION, "money", "month", "EUR"),)
    book = {KEY: of_key, WORKSPACE: of_workspace, ORGANISATION: of_organisation}
    return Picture(**{LIMITS: book, PRICES: {(WORKSPACE, "local", "tiny"): [price]}})


def microseconds(work: Callable[[], object]) -> float:
    """The shortest mean of several repeats: the least disturbed one."""
    means = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(ROUNDS):
            work()
        means.append((time.perf_counter() - began) / ROUNDS * 1e6)
    return round(min(means), 2)


async def measure(*, is_limited: bool) -> float:
    """Microseconds that one request spends on limits and prices, from its key to its close record."""
    meter = Meter(picture(is_limited=is_limited), Books())  # type: ignore[arg-type]
    await meter.warm(meter.tally(CALLER))

    def request() -> object:
        tally = meter.tally(CALLER)
        price = meter.price(CALLER, "local", "tiny")
        hold = meter.hold(tally, 600, 200, price)
        assert hold is not None, "the slices suffice"
        reserved = hold.reserved()
        charges = hold.settle(450, price.of(300, 150) if price is not None else 0)
        headers = tally.headers() if tally.accounts else None
        return reserved, charges, headers, hold.release()

    return microseconds(request)


def main() -> None:
    """Measure, print and keep the result."""
    figures = {
        "unlimited_us": asyncio.run(measure(is_limited=False)),
        "four_limits_us": asyncio.run(measure(is_limited=True)),
    }
    write("limits", figures)


if __name__ == "__main__":
    main()
