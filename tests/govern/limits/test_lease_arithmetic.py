"""The arithmetic of leases under random histories: holders that lease, spend, lose answers, die and are replayed."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from charkha.core.ids import uuid7
from charkha.govern.limits import domain
from charkha.govern.limits.domain import FOREVER, Pool, Slice, Span, window_at

LIMIT = uuid7()
amounts = st.integers(0, 400)


class Holder:
    """One process: its slice, what it has reserved, and what its spool will tell."""

    def __init__(self, name: str) -> None:
        self.name, self.part = name, Slice(LIMIT, Span(0, FOREVER))
        self.open: list[int] = []
        self.spent = 0
        self.is_alive = True

    def spooled(self) -> int:
        """What a replay finds: what was settled, and all that was reserved by requests that never ended."""
        return self.spent + sum(self.open)


class Leasing(RuleBasedStateMachine):
    """Nothing overspends, nothing is told that is not left, and in the end the books hold what was spent."""

    holders = Bundle("holders")

    @initialize(amount=st.integers(0, 2_000))
    def begin(self, amount: int) -> None:
        self.pool, self.all, self.buried = Pool(amount), [], Counter[str]()

    @rule(target=holders)
    def start(self) -> Holder:
        self.all.append(Holder(f"h{len(self.all)}"))
        return self.all[-1]

    @rule(holder=holders, need=amounts, size=amounts, is_heard=st.booleans())
    def lease(self, holder: Holder, need: int, size: int, is_heard: bool) -> None:
        held = self.pool.lease(holder.name, need, size)
        if is_heard:  # else the answer was lost on its way: the next one tells the whole
            holder.part.learn(held)

    @rule(holder=holders, units=amounts)
    def reserve(self, holder: Holder, units: int) -> None:
        if holder.part.available >= units:
            holder.part.available -= units
            holder.open.append(units)

    @rule(holder=holders, share=st.floats(0, 1))
    def settle(self, holder: Holder, share: float) -> None:
        if holder.open:
            reserved = holder.open.pop()
            used = round(reserved * share)
            holder.spent += used
            holder.part.available += reserved - used

    @rule(holder=holders, drawn=amounts, is_heard=st.booleans())
    def give_back(self, holder: Holder, drawn: int, is_heard: bool) -> None:
        units = domain.surplus(holder.part.available, drawn)
        holder.part.give_back(units)
        if is_heard:
            self.pool.take_back(holder.name, units)

    @rule(holder=consumes(holders), is_replayed=st.booleans())
    def kill(self, holder: Holder, is_replayed: bool) -> None:
        holder.is_alive = False
        if is_replayed:
            self.replay(holder)

    def replay(self, holder: Holder) -> None:
        self.pool.bury(holder.name, holder.spooled())
        self.buried[holder.name] += 1

    @invariant()
    def never_overspent(self) -> None:
        spent = sum(holder.spooled() for holder in self.all)
        assert spent <= self.pool.leased <= self.pool.amount
        for holder in self.all:
            if holder.is_alive:
                assert holder.part.available <= self.pool.amount - spent, "remaining was told too high"
                assert holder.part.available >= 0

    def teardown(self) -> None:
        for holder in self.all:
            if holder.is_alive:
                while holder.open:
                    self.settle(holder, 0.5)
                holder.part.learn(self.pool.leases.get(holder.name, 0))
                self.give_back(holder, 0, is_heard=True)
            elif not self.buried[holder.name]:
                self.replay(holder)
        assert self.pool.leased == sum(holder.spooled() for holder in self.all)


TestLeasing = Leasing.TestCase
TestLeasing.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


@given(amount=st.integers(0, 10**12), leased=st.integers(0, 10**12), need=amounts, size=st.integers(0, 10**9))
def test_a_grant_is_what_is_needed_or_all_that_is_left(amount: int, leased: int, need: int, size: int) -> None:
    units, free = domain.grant(amount, leased, need, size), max(0, amount - leased)
    assert min(need, free) <= units <= free
    assert units <= max(need, free // 8)


@given(seconds=st.integers(0, 4_000_000_000), window=st.sampled_from(["minute", "hour", "day", "month"]))
def test_windows_follow_the_calendar_without_a_gap(seconds: int, window: domain.Window) -> None:
    span = window_at(window, seconds)
    assert span.start <= seconds < span.end
    assert window_at(window, span.end).start == span.end
    assert window_at(window, span.end - 1) == span
    begins = datetime.fromtimestamp(span.start, UTC)
    assert begins.second == 0
    if window == "month":
        assert (begins.day, begins.hour) == (1, 0)


def test_one_window_is_for_all_time() -> None:
    assert window_at("total", 0) == window_at("total", 4e9) == Span(0, FOREVER)


@pytest.mark.parametrize(("elapsed", "size"), [(0.5, 160), (5, 80), (60, 40)])
def test_leases_grow_in_a_hurry_and_shrink_at_leisure(elapsed: float, size: int) -> None:
    assert domain.next_size(80, 5, elapsed) == size
    assert domain.next_size(0, 5, elapsed) == 40
