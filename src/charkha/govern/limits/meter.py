"""The hot path of limits: what a request may take is reserved before it is sent, and settled when it has ended.

Reads memory alone and awaits nothing while the slices of its limits suffice. Prices are here too, since money is limited
by what a request may cost at most.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from charkha.core.clock import now as instant
from charkha.core.errors import CharkhaError, Unavailable
from charkha.core.records import Charge
from charkha.govern.keyring import Principal
from charkha.govern.limits.accounts import Account
from charkha.govern.limits.domain import CONCURRENCY, MONEY, REQUESTS, TOKENS, Limit, Need, Slice
from charkha.govern.limits.leases import Leases
from charkha.govern.limits.store import LIMITS, LimitBook
from charkha.govern.prices.domain import Price, PriceBook, price_at
from charkha.govern.prices.service import PRICES
from charkha.kit.snapshot import Snapshots

TICK_SECONDS, REVIEW_TICKS = 0.5, 10
PREPARE_SECONDS = 2.0
WAIT_SECONDS = 2.0
MOST_TALLIES = 20_000
_SHOWN = (
    (REQUESTS, (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests")),
    (TOKENS, (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens")),
)
Shown = tuple[tuple[bytes, bytes, bytes], tuple[Account, ...]]
"""The names of three headers, and the accounts of which they tell the one that is nearest to its end."""


class PriceMissing(CharkhaError):
    """A limit of money applies, and what the model costs is not known: somebody has to say so first."""

    status, code = 500, "price_missing"


class Tally(NamedTuple):
    """The accounts of every limit on one caller. `spends`: tokens or money, so that the answer has to be bounded."""

    accounts: tuple[Account, ...]
    currencies: frozenset[str] = frozenset()
    spends: bool = False
    shown: tuple[Shown, ...] = ()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """`x-ratelimit-*` of the requests and tokens that are nearest to their end."""
        now, told = time.time(), []
        for (limit, remaining, reset), accounts in self.shown:
            nearest, left = accounts[0], accounts[0].remaining(now)
            for other in accounts[1:]:
                if (less := other.remaining(now)) < left:
                    nearest, left = other, less
            told.append((limit, b"%d" % nearest.limit.amount))
            told.append((remaining, b"%d" % left))
            if (seconds := nearest.resets_in(now)) is not None:
                told.append((reset, _duration(seconds)))
        return told


class Hold:
    """What one request has reserved. `settle` once it has ended; `release` where it never began; both do nothing twice."""

    __slots__ = ("_need", "_parts", "price")

    def __init__(self, parts: tuple[tuple[int, Slice], ...], need: Need, price: Price | None) -> None:
        self._parts, self._need, self.price = parts, need, price

    def reserved(self) -> list[Charge]:
        """The most that it takes, for the open record."""
        need = self._need
        return [(part.limit_id, part.start, need[of]) for of, part in self._parts if of != CONCURRENCY]

    def settle(self, tokens: int, cost: int) -> list[Charge]:
        """Spend what was used and free the rest of what was reserved; returns what was spent."""
        need, charges, parts = self._need, [], self._parts
        self._parts = ()
        for of, part in parts:
            if of == CONCURRENCY:
                part.available += 1
                continue
            used = tokens if of == TOKENS else cost if of == MONEY else 1
            part.available += need[of] - used
            charges.append((part.limit_id, part.start, used))
        return charges

    def release(self) -> None:
        """Free all of it."""
        parts, self._parts = self._parts, ()
        for of, part in parts:
            part.available += self._need[of]


FREE = Tally(())
_NOTHING: Need = (0, 0, 0, 0)


class Meter:
    """The limits of one gateway process. `start` before the first request, `stop` after the last."""

    def __init__(self, snapshots: Snapshots, leases: Leases) -> None:
        """`snapshots` has the parts "limits" and "prices"."""
        self.holder = leases.holder
        self._snapshots, self._leases = snapshots, leases
        self._accounts: dict[UUID, Account] = {}
        self._tallies: dict[tuple[str, UUID], Tally] = {}
        self._book: LimitBook | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Keep the slices as large as they are needed, in the background."""
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Hand back everything that was not spent. Where the database is gone it comes back when the spool is replayed."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        running = [account.task for account in self._accounts.values() if account.task is not None]
        await asyncio.gather(*running, return_exceptions=True)
        now = time.time()
        given = [account.hand_back(self._leases, now, everything=True) for account in self._accounts.values()]
        await asyncio.gather(*(task for task in given if task is not None), return_exceptions=True)

    def tally(self, caller: Principal) -> Tally:
        """The limits on a caller: of its key, its workspace and its organisation."""
        book: LimitBook = self._snapshots.get(LIMITS)
        if book is not self._book:
            self._changed(book)
        if not book:
            return FREE
        key = caller.actor, caller.workspace_id
        tally = self._tallies.get(key)
        if tally is None:
            if len(self._tallies) >= MOST_TALLIES:
                self._tallies.clear()
            tally = self._tallies[key] = self._tallied(caller, book)
        return tally

    async def warm(self, tally: Tally) -> None:
        """Wait for the first lease of a cold key; for nothing else."""
        now = time.time()
        cold = [account for account in tally.accounts if account.is_cold(now)]
        if cold:
            leasing = [account.refill(self._leases, account.first_need()) for account in cold]
            await asyncio.wait(leasing, timeout=WAIT_SECONDS)

    def price(self, caller: Principal, engine: str, model: str) -> Price | None:
        """What a model costs this caller now, or None where nobody has said so."""
        book: PriceBook = self._snapshots.get(PRICES)
        if not book:
            return None
        return price_at(book, (caller.workspace_id, caller.organisation_id), engine, model, instant())

    def hold(self, tally: Tally, prompt: int, completion: int, price: Price | None) -> Hold | None:
        """Reserve for a request of at most so many tokens; None where a slice does not suffice. Raises PriceMissing."""
        if not tally.accounts:
            return Hold((), _NOTHING, price)
        cost = price.of(prompt, completion) if price is not None else 0
        if tally.currencies and (price is None or tally.currencies != {price.currency}):
            raise _price_missing(tally, price)
        need: Need = (1, prompt + completion, cost, 1)
        now, parts = time.time(), []
        for account in tally.accounts:
            part, of = account.current(now), account.measure
            if part is None or part.available < need[of]:
                return None
            parts.append((of, part))
        for of, part in parts:
            part.available -= need[of]
            part.drawn += need[of]
        for account in tally.accounts:
            part = account.part
            if part is not None and part.available < part.low:
                account.refill_if_low(self._leases, need[account.measure])
        return Hold(tuple(parts), need, price)

    async def wait(self, tally: Tally, prompt: int, completion: int, price: Price | None) -> Hold:
        """As `hold`, after leasing more. Raises LimitReached, or Unavailable where the database is gone."""
        need: Need = (1, prompt + completion, price.of(prompt, completion) if price is not None else 0, 1)
        give_up = time.monotonic() + WAIT_SECONDS
        while (held := self.hold(tally, prompt, completion, price)) is None:
            now, leasing = time.time(), []
            for account in tally.accounts:
                wanted, part = need[account.measure], account.current(now)
                if wanted > account.limit.amount:
                    raise account.reached(wanted, now)
                if part is None or part.available < wanted:
                    account.require_more(self._leases, wanted, now)
                    leasing.append(account.refill(self._leases, wanted - (part.available if part is not None else 0)))
            left = give_up - time.monotonic()
            if leasing and left > 0:
                await asyncio.wait(leasing, timeout=left)
            elif left <= 0:
                raise Unavailable("The database is slow to lease.", remedy="Try again.", code="limits_unavailable")
        return held

    def _tallied(self, caller: Principal, book: LimitBook) -> Tally:
        subjects = (caller.key_id, caller.workspace_id, caller.organisation_id)
        limits = [limit for subject in subjects if subject is not None for limit in book.get(subject, ())]
        if not limits:
            return FREE
        currencies = frozenset(limit.currency for limit in limits if limit.currency is not None)
        spends = any(limit.measure in ("tokens", "money") for limit in limits)
        accounts = tuple(self._account(limit) for limit in limits)
        shown = ((names, tuple(each for each in accounts if each.measure == of)) for of, names in _SHOWN)
        return Tally(accounts, currencies, spends, tuple((names, told) for names, told in shown if told))

    def _account(self, limit: Limit) -> Account:
        account = self._accounts.get(limit.id)
        if account is None:
            account = self._accounts[limit.id] = Account(limit)
        account.take_over(limit)
        return account

    def _changed(self, book: LimitBook) -> None:
        """Take over a new picture. The account of a limit that is still there goes on with its slice."""
        self._book = book
        self._tallies.clear()
        known = {limit.id: limit for limits in book.values() for limit in limits}
        for limit_id, account in list(self._accounts.items()):
            if limit_id in known:
                account.take_over(known[limit_id])
            else:
                del self._accounts[limit_id]

    async def _keep(self) -> None:
        """Lease ahead of a window's begin, and hand back what was not needed."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            ticks += 1
            now = time.time()
            with contextlib.suppress(Unavailable):
                self._look()
            for account in self._accounts.values():
                part = account.current(now)
                if part is not None and part.end - now < PREPARE_SECONDS:
                    account.prepare_next(self._leases, now)
                elif ticks % (REVIEW_TICKS // 2 if account.measure == CONCURRENCY else REVIEW_TICKS) == 0:
                    account.hand_back(self._leases, now)

    def _look(self) -> None:
        """Take over a picture that no request has looked at yet."""
        book: LimitBook = self._snapshots.get(LIMITS)
        if book is not self._book:
            self._changed(book)


def _price_missing(tally: Tally, price: Price | None) -> PriceMissing:
    wanted: Sequence[str] = sorted(tally.currencies)
    found = f"it has one in {price.currency}" if price is not None else "it has none"
    return PriceMissing(
        f"A limit in {' and '.join(wanted)} holds here, so this model needs a price in it, and {found}.",
        remedy="Add one: `charkha prices add ENGINE MODEL`, or remove the limit.",
        param="model",
    )


def _duration(seconds: float) -> bytes:
    """Seconds as OpenAI writes them: `6m0s`, `1h2m3s`, `17ms`."""
    if seconds < 1:
        return b"%dms" % max(1, int(seconds * 1000))
    whole = int(seconds) + 1
    hours, minutes = whole // 3_600, whole % 3_600 // 60
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, whole % 60)
    return b"%dm%ds" % (minutes, whole % 60) if minutes else b"%ds" % whole
