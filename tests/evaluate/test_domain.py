"""Scorecards: verdicts on known truths, false verdicts under no difference, and what contradicts them."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.evaluate.domain import MINIMUM_GRADED, Pair, Scorecard, compare

BINARY = st.sampled_from([0.0, 1.0])
LABELS = st.none() | st.sampled_from(["a", "b"])
PAIRS = st.lists(st.builds(Pair, BINARY, BINARY, LABELS), min_size=1, max_size=60)
GRADED = st.lists(st.builds(Pair, st.floats(0, 1), st.floats(0, 1), LABELS), min_size=1, max_size=8)


def counts(both: int, wins: int, losses: int, neither: int, label: str | None = None) -> list[Pair]:
    kinds = (
        (both, Pair(1, 1, label)),
        (wins, Pair(0, 1, label)),
        (losses, Pair(1, 0, label)),
        (neither, Pair(0, 0, label)),
    )
    return [pair for count, pair in kinds for _ in range(count)]


def test_a_clear_gain_is_better_and_a_clear_loss_worse() -> None:
    card = compare(counts(15, 120, 3, 62))
    assert card.verdict == "better"
    assert (card.n, card.wins, card.losses) == (200, 120, 3)
    assert card.difference == pytest.approx(0.585)
    assert card.interval.low > 0.5
    assert compare(counts(15, 3, 120, 62)).verdict == "worse"


def test_the_exact_test_holds_back_a_handful_of_examples() -> None:
    card = compare(counts(0, 5, 0, 0))
    assert card.interval.low > 0
    assert card.verdict == "not enough data"
    assert "too few examples" in card.contradictions[0]


def test_no_difference_is_seldom_called_one() -> None:
    rng, runs = random.Random(4), 1000
    pairs = [[Pair(float(rng.random() < 0.6), float(rng.random() < 0.6)) for _ in range(60)] for _ in range(runs)]
    assert sum(compare(each).verdict != "not enough data" for each in pairs) / runs <= 0.05


def test_graded_scores_take_a_bootstrap_and_a_minimum() -> None:
    pairs = [Pair(0.2 + 0.01 * (k % 5), 0.6 + 0.02 * (k % 7)) for k in range(MINIMUM_GRADED)]
    assert compare(pairs).graded
    assert compare(pairs).verdict == "better"
    assert compare(pairs[:-1]).verdict == "not enough data"
    assert compare(pairs, seed=1) == compare(pairs, seed=1)


def test_a_class_that_falls_contradicts_a_better_verdict() -> None:
    card = compare(counts(10, 60, 0, 10, "rising") + counts(2, 0, 12, 6, "falling"))
    assert card.verdict == "better"
    assert [each.label for each in card.classes] == ["falling", "rising"]
    assert "'falling' moved from 0.70 to 0.10 on 20 examples, significantly" in card.contradictions[0]


@given(PAIRS | GRADED)
def test_a_scorecard_is_coherent(pairs: list[Pair]) -> None:
    card = compare(pairs)
    assert card.interval.low - 1e-9 <= card.difference <= card.interval.high + 1e-9 or card.graded
    assert (
        card.incumbent.interval.low - 1e-9 <= card.incumbent.value <= card.incumbent.interval.high + 1e-9 or card.graded
    )
    assert card.wins + card.losses <= card.n
    assert sum(each.n for each in card.classes) == sum(pair.label is not None for pair in pairs)
    if card.verdict != "not enough data":
        assert card.interval.excludes(0)
        assert (card.verdict == "better") == (card.difference > 0)


@given(PAIRS)
def test_swapping_the_versions_swaps_the_verdict(pairs: list[Pair]) -> None:
    opposite = {"better": "worse", "worse": "better", "not enough data": "not enough data"}
    swapped = compare([Pair(pair.candidate, pair.incumbent, pair.label) for pair in pairs])
    assert opposite[swapped.verdict] == compare(pairs).verdict


def test_a_scorecard_survives_json() -> None:
    card = compare(counts(3, 9, 1, 4, "a"))
    assert msgspec.json.decode(msgspec.json.encode(card), type=Scorecard) == card


@pytest.mark.parametrize("pairs", [[], [Pair(0, 1.5)], [Pair(float("nan"), 1)]])
def test_what_cannot_be_compared_is_refused(pairs: list[Pair]) -> None:
    with pytest.raises(Invalid) as refused:
        compare(pairs)
    assert refused.value.remedy


def test_an_impossible_confidence_is_refused() -> None:
    with pytest.raises(Invalid, match="confidence"):
        compare([Pair(0, 1)], confidence=1.0)
