"""The intervals cover what they promise, and the exact figures are the textbook's."""

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.evaluate.statistics import Interval, Pairs, bootstrap, mcnemar, newcombe, wilson

COUNTS = st.builds(Pairs, *[st.integers(0, 60)] * 4).filter(lambda pairs: pairs.n > 0)


def draw(rng: random.Random, n: int, both: float, wins: float, losses: float) -> Pairs:
    weights = [both, wins, losses, 1 - both - wins - losses]
    drawn = rng.choices(range(4), weights, k=n)
    return Pairs(*(drawn.count(kind) for kind in range(4)))


def test_wilson_is_the_published_figure() -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I: 81 of 263 and 0 of 20.
    first, second = wilson(81, 263), wilson(0, 20)
    assert (round(first.low, 4), round(first.high, 4)) == (0.2553, 0.3662)
    assert (round(second.low, 4), round(second.high, 4)) == (0.0, 0.1611)


def test_mcnemar_is_the_binomial_by_hand() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(6, 0) == 2 / 64
    assert mcnemar(1, 5) == 2 * (1 + 6) / 64


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_a_symmetric_probability(wins: int, losses: int) -> None:
    assert 0 < mcnemar(wins, losses) <= 1
    assert mcnemar(wins, losses) == mcnemar(losses, wins)


@given(COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
def test_newcombe_holds_the_difference_and_turns_with_the_arms(pairs: Pairs, confidence: float) -> None:
    interval = newcombe(pairs, confidence)
    difference = (pairs.candidate_only - pairs.incumbent_only) / pairs.n
    assert -1 <= interval.low <= difference + 1e-12
    assert difference - 1e-12 <= interval.high <= 1
    turned = newcombe(Pairs(pairs.both, pairs.incumbent_only, pairs.candidate_only, pairs.neither), confidence)
    assert turned.low == pytest.approx(-interval.high)
    assert turned.high == pytest.approx(-interval.low)


@given(COUNTS)
def test_more_confidence_is_wider(pairs: Pairs) -> None:
    narrow, wide = newcombe(pairs, 0.8), newcombe(pairs, 0.99)
    assert wide.low <= narrow.low + 1e-12
    assert wide.high >= narrow.high - 1e-12


@pytest.mark.parametrize(
    ("n", "both", "wins", "losses"),
    [(40, 0.1, 0.6, 0.05), (200, 0.15, 0.6, 0.02), (100, 0.5, 0.1, 0.1), (30, 0.85, 0.1, 0.02)],
)
def test_newcombe_covers_the_truth(n: int, both: float, wins: float, losses: float) -> None:
    rng, runs = random.Random(1), 2000
    covered = sum(not newcombe(draw(rng, n, both, wins, losses)).excludes(wins - losses) for _ in range(runs))
    assert covered / runs >= 0.935


def test_bootstrap_covers_the_truth_of_skewed_scores() -> None:
    rng, runs, n = random.Random(2), 200, 60
    covered = 0
    for seed in range(runs):
        values = [rng.betavariate(0.6, 2.4) for _ in range(n)]
        covered += not bootstrap(values, seed=seed, resamples=400).excludes(0.2)
    assert covered / runs >= 0.90


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(0, 5))
def test_bootstrap_stays_inside_the_values_and_is_repeatable(values: list[float], seed: int) -> None:
    interval = bootstrap(values, seed=seed, resamples=60)
    assert interval == bootstrap(values, seed=seed, resamples=60)
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9


def test_equal_values_are_a_point() -> None:
    assert bootstrap([0.25] * 3) == Interval(fmean([0.25] * 3), 0.25)
