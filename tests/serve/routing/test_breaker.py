"""The circuit breaker as a state machine: whatever happens in whatever order, its promises hold."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from charkha.serve.routing.breaker import ORDINARY, PROBE, REFUSED, Breaker, Thresholds

LIMITS = Thresholds(window=10, minimum=4, share=0.5, pause=1, longest=8)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(LIMITS)
    for _ in range(4):
        assert breaker.enter(now) == ORDINARY
        breaker.failed(now)
    return breaker


def test_it_opens_at_the_share_and_not_before_the_minimum() -> None:
    breaker = Breaker(LIMITS)
    for _ in range(3):
        breaker.failed(0.0)
    assert breaker.state(0.0) == "closed"
    for _ in range(4):
        breaker.succeeded(0.0)
    assert breaker.enter(0.0) == ORDINARY
    breaker.failed(0.0)
    assert breaker.state(0.0) == "open"
    assert breaker.enter(0.99) == REFUSED


def test_what_has_left_the_window_counts_no_more() -> None:
    breaker = Breaker(LIMITS)
    for _ in range(3):
        breaker.failed(0.0)
    breaker.failed(10.5)
    assert breaker.state(10.5) == "closed"
    for at in (10.6, 10.7, 10.8):
        breaker.failed(at)
    assert breaker.state(10.8) == "open"


def test_one_probe_at_a_time_closes_it() -> None:
    breaker = opened()
    assert not breaker.admits(0.5)
    assert breaker.opens_in(0.25) == 0.75
    assert breaker.admits(1.0)
    assert breaker.enter(1.0) == PROBE
    assert breaker.enter(1.0) == REFUSED
    breaker.succeeded(1.1, ORDINARY)  # was let through before it opened
    assert breaker.state(1.1) == "half_open"
    breaker.succeeded(1.2, PROBE)
    assert (breaker.state(1.2), breaker.enter(1.2)) == ("closed", ORDINARY)
    breaker.failed(1.3)
    assert breaker.state(1.3) == "closed", "what was counted before is forgotten"


def test_each_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(6):
        pause = breaker.opens_in(now)
        pauses.append(pause)
        now += pause
        assert breaker.enter(now) == PROBE
        breaker.failed(now, PROBE)
    assert pauses == [1, 2, 4, 8, 8, 8]
    assert breaker.enter(now + 8) == PROBE
    breaker.succeeded(now + 8, PROBE)
    for _ in range(4):
        breaker.failed(now + 9)
    assert breaker.opens_in(now + 9) == 1, "the pause begins anew"


def test_an_abandoned_probe_lets_the_next_one_through() -> None:
    breaker = opened()
    assert breaker.enter(1.0) == PROBE
    breaker.abandoned(PROBE)
    assert breaker.enter(1.0) == PROBE


class Machine(RuleBasedStateMachine):
    """Requests enter and report in any order, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = Breaker(LIMITS), 0.0
        self.ordinary = self.probes = 0
        self.results: list[tuple[float, bool]] = []

    @rule(seconds=st.floats(0.01, 12))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_request_enters(self) -> None:
        state, expected = self.breaker.state(self.now), self.breaker.admits(self.now)
        entered = self.breaker.enter(self.now)
        assert bool(entered) == expected
        if state == "closed":
            assert entered == ORDINARY
            self.ordinary += 1
        elif state == "open":
            assert entered == REFUSED
        else:
            assert (entered == PROBE) == (self.probes == 0)
            self.probes += entered == PROBE

    @precondition(lambda self: self.ordinary)
    @rule(well=st.booleans())
    def one_reports(self, well: bool) -> None:
        self.ordinary -= 1
        before = self.breaker.state(self.now)
        (self.breaker.succeeded if well else self.breaker.failed)(self.now, ORDINARY)
        after = self.breaker.state(self.now)
        if before != "closed":
            assert after == before, "only a probe moves a breaker that is open"
            return
        self.results.append((self.now, well))
        # The window slides in tenths: a result counts for nine to ten seconds.
        recent = [good for at, good in self.results if self.now - at < 10]
        if after == "open":
            assert not well
            assert len(recent) >= 4
        elif not well:
            surely = [good for at, good in self.results if self.now - at < 9]
            old = len(recent) - len(surely)
            assert old or len(surely) < 4 or surely.count(False) < 0.5 * len(surely)

    @precondition(lambda self: self.probes)
    @rule(how=st.sampled_from(["well", "badly", "unknown"]))
    def the_probe_reports(self, how: str) -> None:
        self.probes = 0
        if how == "well":
            self.breaker.succeeded(self.now, PROBE)
            self.results.clear()
            assert self.breaker.state(self.now) == "closed"
        elif how == "badly":
            self.breaker.failed(self.now, PROBE)
            assert self.breaker.state(self.now) == "open"
            assert LIMITS.pause - 1e-6 < self.breaker.opens_in(self.now) <= LIMITS.longest + 1e-6
        else:
            self.breaker.abandoned(PROBE)
            assert self.breaker.admits(self.now)

    @invariant()
    def it_never_stays_shut(self) -> None:
        if not self.probes:
            assert self.breaker.admits(self.now + self.breaker.opens_in(self.now) + 1e-9)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("gap", [9.99, 10.0, 25.0, 1e6])
def test_long_silence_empties_the_window(gap: float) -> None:
    breaker = Breaker(LIMITS)
    for _ in range(3):
        breaker.failed(1.0)
    breaker.failed(1.0 + gap)
    assert breaker.state(1.0 + gap) == ("open" if gap < 10 else "closed")
