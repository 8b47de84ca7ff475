"""The e-process: exact expectation under the null, false alarms under continuous peeking, and how fast it decides."""

import itertools
import math
import random
import statistics
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.release.sequential import Higher, growth, ratio

OUTCOMES = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=60)


def stream(rng: random.Random, share: int, candidate: float, baseline: float, graded: bool = False) -> Iterator:
    """Outcomes as a gateway would meet them: each request goes to the candidate with probability `share` percent."""
    while True:
        of_candidate = rng.random() * 100 < share
        mean = candidate if of_candidate else baseline
        yield of_candidate, (rng.betavariate(4 * mean, 4 * (1 - mean)) if graded else float(rng.random() < mean))


def candidate_outcomes_needed(rng: random.Random, share: int, means: tuple[float, float], bar: float) -> int:
    process = Higher(ratio(share))
    for outcome in itertools.islice(stream(rng, share, *means), 20_000):
        if process.feed([outcome]).log_e >= bar:
            break
    return process.candidate.n


@given(past=OUTCOMES, r=st.integers(1, 4), theta=st.floats(0, 1), lower=st.floats(0, 1))
def test_a_block_is_worth_at_most_one_on_average_whatever_was_seen_before(
    past: list[tuple[bool, float]], r: int, theta: float, lower: float
) -> None:
    # The exact expectation over all 2^(1+r) outcomes of the next block, for means theta_c <= theta_b = theta.
    expectation = 0.0
    for bits in itertools.product((0.0, 1.0), repeat=1 + r):
        chances = [theta * lower, *[theta] * r]
        chance = math.prod(p if bit else 1 - p for p, bit in zip(chances, bits, strict=True))
        process = Higher(r).feed(past)
        process._waiting_c.clear()
        process._waiting_b.clear()
        start = process.log_e
        process.feed([(True, bits[0]), *((False, bit) for bit in bits[1:])])
        expectation += chance * math.exp(process.log_e - start)
    assert expectation <= 1 + 1e-9


@given(past=OUTCOMES, r=st.integers(1, 9))
def test_every_outcome_is_counted_and_blocks_use_each_once(past: list[tuple[bool, float]], r: int) -> None:
    process = Higher(r).feed(past)
    assert process.candidate.n == sum(of_candidate for of_candidate, _ in past)
    assert process.candidate.n + process.baseline.n == len(past)
    assert process.blocks <= min(process.candidate.n, process.baseline.n // r)
    assert process.peak >= max(0.0, process.log_e)


@given(past=OUTCOMES, r=st.integers(1, 9), cut=st.integers(0, 60))
def test_feeding_in_pieces_is_feeding_at_once(past: list[tuple[bool, float]], r: int, cut: int) -> None:
    assert Higher(r).feed(past[:cut]).feed(past[cut:]) == Higher(r).feed(past)


@pytest.mark.parametrize(("share", "mean", "graded"), [(10, 0.2, False), (50, 0.7, False), (1, 0.5, True)])
def test_equal_arms_are_called_different_no_more_often_than_alpha_however_often_one_looks(
    share: int, mean: float, graded: bool
) -> None:
    rng, alpha, runs = random.Random(7), 0.05, 2000
    length = 1000 if share == 1 else 400
    peaks = [
        Higher(ratio(share)).feed(itertools.islice(stream(rng, share, mean, mean, graded), length)).peak
        for _ in range(runs)
    ]
    assert sum(peak >= math.log(1 / alpha) for peak in peaks) / runs <= alpha


def test_a_worse_candidate_is_called_better_even_less_often() -> None:
    rng = random.Random(11)
    peaks = [Higher(7).feed(itertools.islice(stream(rng, 10, 0.3, 0.5), 400)).peak for _ in range(500)]
    assert sum(peak >= math.log(20) for peak in peaks) <= 10


def test_a_large_gain_is_seen_with_a_handful_of_candidate_outcomes() -> None:
    rng = random.Random(3)
    needed = [candidate_outcomes_needed(rng, 10, (0.76, 0.2), math.log(20)) for _ in range(400)]
    assert statistics.median(needed) <= 6
    assert statistics.mean(needed) <= 7.5


def test_a_small_gain_is_seen_in_the_end() -> None:
    rng = random.Random(5)
    needed = [candidate_outcomes_needed(rng, 10, (0.7, 0.5), math.log(20)) for _ in range(60)]
    assert max(needed) < 1000


def test_blocks_take_fewer_baseline_outcomes_than_arrive() -> None:
    assert {share: ratio(share) for share in (1, 5, 10, 20, 50, 100)} == {1: 9, 5: 9, 10: 7, 20: 3, 50: 1, 100: 1}


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(1, 9))
def test_growth_is_positive_only_for_a_gain(p_c: float, p_b: float, r: int) -> None:
    assert (growth(p_c, p_b, r) > 0) == (p_c > p_b) or abs(p_c - p_b) < 1e-6
