"""How long, how fast and in which order: the pure part of a recipe."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from charkha.learn.recipes import schedule

counts = st.integers(1, 50)


@given(counts, counts, st.floats(0.01, 20), counts)
def test_planned_steps_cover_the_passes_and_no_more(examples: int, batch_size: int, epochs: float, least: int) -> None:
    steps = schedule.planned_steps(examples, batch_size, epochs, least)
    assert steps >= least
    assert steps * batch_size >= examples * epochs - 1e-6
    assert steps == least or (steps - 1) * batch_size < examples * epochs


@given(st.integers(0, 100), st.integers(0, 100), st.floats(-10, 1000), st.floats(0, 10))
def test_a_plan_never_grows_and_never_ends_in_the_past(
    done: int, more: int, seconds_left: float, seconds_per_step: float
) -> None:
    planned = done + 1 + more
    total = schedule.fitting_steps(done, planned, seconds_left, seconds_per_step)
    assert done < total <= planned
    if total < planned and seconds_left >= seconds_per_step > 0:
        assert (total - done) * seconds_per_step <= seconds_left * 1.000001


@given(st.integers(1, 300), st.integers(1, 30), st.floats(1e-6, 1))
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(total: int, warmup: int, peak: float) -> None:
    rates = [schedule.learning_rate(step, total, warmup, peak) for step in range(total)]
    assert all(0 < rate <= peak for rate in rates[:-1])
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5))
def test_every_pass_takes_every_example_once(examples: int, batch_size: int, seed: int) -> None:
    taken = [index for step in range(examples) for index in schedule.batch(step, examples, batch_size, seed)]
    for start in range(0, len(taken) - examples + 1, examples):
        assert Counter(taken[start : start + examples]) == Counter(range(examples))
