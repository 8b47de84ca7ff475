"""Which steps an endpoint's traffic can decide in time."""

from datetime import UTC, datetime
from random import Random
from statistics import mean
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.ids import uuid7
from charkha.release.judgement import STEPS
from charkha.release.ports import Outcome
from charkha.release.rollouts.pace import Traffic, fitting, outcomes_needed, seconds_at, traffic
from charkha.release.sequential import Higher, ratio

START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
VARIANT = UUID(int=1)


def outcome(second: float, score: float | None) -> Outcome:
    return Outcome(uuid7(START + int(second * 1000)), VARIANT, False, 100.0, score)


@given(
    gain=st.floats(-1, 1),
    seen=st.builds(Traffic, mean=st.floats(0, 1), per_second=st.floats(1e-6, 1e4)),
    patience=st.floats(1, 1e5),
)
def test_what_is_left_is_the_end_of_the_steps_and_says_why(gain: float, seen: Traffic, patience: float) -> None:
    steps, why = fitting(STEPS, gain, seen, 0.05, 3, patience)
    assert steps == STEPS[-len(steps) :]
    assert len(steps) >= 2
    assert bool(why) == (steps != STEPS)
    if len(steps) > 2:
        assert seconds_at(steps[0], gain, seen, 0.05, 3) <= patience


@given(gain=st.floats(0.01, 1), mean=st.floats(0, 1), rate=st.floats(0.01, 1000))
def test_more_traffic_never_takes_a_step_away(gain: float, mean: float, rate: float) -> None:
    few, _ = fitting(STEPS, gain, Traffic(mean, rate), 0.05, 3, 180)
    many, _ = fitting(STEPS, gain, Traffic(mean, 2 * rate), 0.05, 3, 180)
    assert len(many) >= len(few)


def test_a_great_gain_keeps_every_step_and_a_small_one_on_thin_traffic_does_not() -> None:
    assert fitting(STEPS, 0.86, Traffic(0.0, 7), 0.05, 3, 180) == (STEPS, "")
    steps, why = fitting(STEPS, 0.25, Traffic(0.5, 7), 0.05, 3, 180)
    assert steps == (10, 50, 100)
    assert "Begins at 10 %" in why
    assert "1 %" in why
    assert fitting(STEPS, 0.25, Traffic(0.5, 0.01), 0.05, 3, 180)[0] == (50, 100)


@pytest.mark.parametrize(("low", "high", "share"), [(0.02, 0.86, 1), (0.5, 0.77, 10), (0.5, 0.77, 50), (0.3, 0.6, 10)])
def test_the_expectation_is_of_the_size_that_the_sequential_test_takes(low: float, high: float, share: int) -> None:
    taken = mean(simulated(low, high, share, seed) for seed in range(200))
    assert 0.5 < outcomes_needed(high - low, low, share, 0.05, 1) / taken < 2


def simulated(low: float, high: float, share: int, seed: int) -> int:
    """Candidate outcomes until the evidence reaches 20."""
    chance, process, r = Random(seed), Higher(ratio(share)), ratio(share)
    for count in range(1, 5000):
        process.feed((False, float(chance.random() < low)) for _ in range(r))
        process.feed([(True, float(chance.random() < high))])
        if process.log_e >= 3.0:
            return count
    return 5000


def test_traffic_is_counted_over_the_time_in_which_it_came() -> None:
    seen = traffic([outcome(second, 1.0 if second % 2 else 0.0) for second in range(11)])
    assert seen is not None
    assert seen.per_second == pytest.approx(1)
    assert seen.mean == pytest.approx(5 / 11)


@pytest.mark.parametrize("recent", [[], [outcome(0, 1.0)], [outcome(0, None), outcome(9, None)], [outcome(3, 1.0)] * 2])
def test_too_little_to_tell_is_none(recent: list[Outcome]) -> None:
    assert traffic(recent) is None
