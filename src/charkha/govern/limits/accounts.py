"""One limit as one process sees it: its slice of the window, and when to lease more or hand some back.

Everything but the leasing itself is memory. One conversation with the database at a time for each limit; requests look at
the slice alone, and wait only where it does not suffice and the database may have more.
"""

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any

from charkha.core.errors import CharkhaError, LimitReached, Unavailable
from charkha.govern.limits import domain
from charkha.govern.limits.domain import CONCURRENCY, FOREVER, MEASURES, MONEY, TOKENS, Limit, Slice
from charkha.govern.limits.leases import Leases
from charkha.kit.telemetry import logger

TRY_SECONDS = 2.0
DRY_SECONDS = LOST_SECONDS = 1.0
QUOTA_RETRY_SECONDS = 3_600
FIRST_TOKENS, FIRST_SHARE = 1_024, 16
log = logger(__name__)


class Account:
    """The slice of a limit that this process holds."""

    __slots__ = (
        "_asked_at",
        "_floor",
        "_is_dry",
        "_lost_until",
        "_size",
        "_wanted",
        "limit",
        "measure",
        "part",
        "task",
        "upcoming",
    )

    def __init__(self, limit: Limit) -> None:
        self.limit, self.measure = limit, MEASURES.index(limit.measure)
        self.part: Slice | None = None
        self.upcoming: Slice | None = None
        self.task: asyncio.Task[None] | None = None
        self._size = self._wanted = self._floor = 0
        self._asked_at = self._lost_until = -math.inf
        self._is_dry = False  # the window had nothing more to lease when we last asked

    def current(self, now: float) -> Slice | None:
        """The slice of the window at `now`; None before its first lease."""
        part = self.part
        if part is not None and now < part.end:
            return part
        if part is not None:
            self._floor = max(self._floor, part.end)  # a clock that is set back must not open a window twice
        self.part, self.upcoming = self.upcoming, None
        self._is_dry = False
        if self.part is not None and now >= self.part.end:
            return self.current(now)
        return self.part

    def take_over(self, limit: Limit) -> None:
        """Go on under the limit as it was changed; what it had run out of may be there again."""
        if limit != self.limit:
            self.limit, self._is_dry = limit, False

    def remaining(self, now: float) -> int:
        """Units that this process can give for certain: never more than are left, mostly less."""
        part = self.current(now)
        return max(0, part.available) if part is not None else 0

    def resets_in(self, now: float) -> float | None:
        """Seconds to the end of the window; None where it has none."""
        part = self.part
        end = part.end if part is not None else domain.span_of(self.limit, max(now, self._floor)).end
        return None if end == FOREVER else end - now

    def is_cold(self, now: float) -> bool:
        """Whether there is nothing to spend and nobody has said yet that there is nothing left."""
        part = self.current(now)
        is_empty = part is None or part.available <= 0
        return is_empty and not self._is_dry and time.monotonic() > self._lost_until

    def first_need(self) -> int:
        """What to lease for a key of which nothing is known yet: a part that a request of usual size finds enough."""
        if self.measure == TOKENS:
            return max(1, min(FIRST_TOKENS, self.limit.amount // FIRST_SHARE))
        return max(1, self.limit.amount // 1_000) if self.measure == MONEY else 1

    def require_more(self, leases: Leases, need: int, now: float) -> None:
        """Raise LimitReached or Unavailable where waiting for the database has no point.

        Where it had nothing more it is asked again in the background, for others may have handed something back.
        """
        if time.monotonic() < self._lost_until:
            raise _lost()
        if self._is_dry and self.current(now) is not None:
            self.refill_if_low(leases, need)
            raise self.reached(need, now)

    def refill(self, leases: Leases, need: int) -> asyncio.Task[None]:
        """Lease more, or join the leasing that goes on; at its end the slice has it, or the account knows why not."""
        self._wanted += need
        return self.task or self._begin(self._lease(leases))

    def refill_if_low(self, leases: Leases, need: int) -> None:
        """Lease more in the background, where nothing speaks against it."""
        clock = time.monotonic()
        if (
            self.task is None
            and clock > self._lost_until
            and (not self._is_dry or clock > self._asked_at + DRY_SECONDS)
        ):
            self.refill(leases, need)

    def prepare_next(self, leases: Leases, now: float) -> None:
        """Lease a slice of the next window before it begins, where this one is in use."""
        part = self.current(now)
        if part is not None and self.upcoming is None and self.task is None and part.drawn and part.end != FOREVER:
            self._begin(self._lease_next(leases, Slice(self.limit.id, domain.span_of(self.limit, part.end))))

    def hand_back(self, leases: Leases, now: float, *, everything: bool = False) -> asyncio.Task[None] | None:
        """Hand back what was not needed since the last time; the task that tells it, or None where it is nothing."""
        part = self.current(now)
        if part is None or self.task is not None:
            return None
        units = domain.surplus(part.available, 0 if everything else part.drawn)
        part.drawn = 0
        if not units:
            return None
        part.give_back(units)
        return self._begin(self._give_back(leases, part, units))

    def reached(self, need: int, now: float) -> LimitReached:
        """The refusal of a request that needs `need` units."""
        resets, whose = self.resets_in(now), f"this {self.limit.subject}"
        message = f"The limit of {whose} is reached: {self.limit}."
        if need > self.limit.amount > 0:
            asked = domain.amount_text(need, self.limit)
            message = f"This request may need {asked}, more than the limit of {whose} has: {self.limit}."
            remedy, wait = "Ask for less (max_tokens), or have the limit raised.", resets or QUOTA_RETRY_SECONDS
        elif self.measure == CONCURRENCY:
            remedy, wait = "Wait for an answer before you ask again.", 1.0
        elif resets is None:
            remedy, wait = "Have it raised: `charkha limits set`.", float(QUOTA_RETRY_SECONDS)
        else:
            remedy, wait = f"Try again in {max(1, math.ceil(resets))} s.", resets
        code = "insufficient_quota" if resets is None and self.measure != CONCURRENCY else None
        return LimitReached(message, remedy=remedy, code=code, retry_after=math.ceil(wait))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.task = asyncio.create_task(work)
        self.task.add_done_callback(self._ended)
        return self.task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if not task.cancelled() and (error := task.exception()):
            self._lost_until = time.monotonic() + LOST_SECONDS
            log.warning("limits.lease_failed", limit=str(self.limit.id), reason=str(error))

    async def _lease(self, leases: Leases) -> None:
        """Lease for the current window, which is opened if this is its first lease."""
        now, clock = time.time(), time.monotonic()
        part = self.current(now)
        if part is None:
            part = self.part = Slice(self.limit.id, domain.span_of(self.limit, max(now, self._floor)))
        need, self._wanted = max(1, self._wanted), 0
        self._size = domain.next_size(self._size, need, clock - self._asked_at)
        self._is_dry = await self._grow(leases, part, need) == 0
        self._asked_at = time.monotonic()

    async def _lease_next(self, leases: Leases, part: Slice) -> None:
        await self._grow(leases, part, 1)
        self.upcoming = part

    async def _grow(self, leases: Leases, part: Slice, need: int) -> int:
        """Lease more for a slice; units of its window that are still free then. Raises Unavailable."""
        try:
            async with asyncio.timeout(TRY_SECONDS):
                granted = await leases.grant(self.limit, domain.Span(part.start, part.end), need, self._size)
        except TimeoutError as error:
            raise Unavailable("The database did not lease in time.") from error
        part.learn(granted.held)
        return granted.free

    async def _give_back(self, leases: Leases, part: Slice, units: int) -> None:
        async with asyncio.timeout(TRY_SECONDS):
            await leases.give_back(self.limit, part.start, units)


def _lost() -> CharkhaError:
    return Unavailable(
        "What this process had leased is spent, and the database does not answer.",
        remedy="Try again; `charkha doctor` says what it sees.",
        code="limits_unavailable",
    )
