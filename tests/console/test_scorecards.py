"""Scorecards in words: nothing is said that the figures do not say."""

from typing import Any

import pytest

from charkha.console.scorecards import chance, metric, probability, verdict

RATE = {"value": 0.5, "interval": {"low": 0.4, "high": 0.6}}


def card(**changes: Any) -> dict[str, Any]:
    facts = {"n": 200, "verdict": "better", "incumbent": RATE, "interval": {"low": 0.1, "high": 0.3}}
    return facts | {"wins": 20, "losses": 2, "p_value": 0.0017} | changes


@pytest.mark.parametrize(
    ("value", "told"), [(0.034, "0.034"), (1.0, "1"), (1.24e-38, "1.2 × 10⁻³⁸"), (0.00024, "2.4 × 10⁻⁴"), (0.0, "0")]
)
def test_a_probability_has_two_digits(value: float, told: str) -> None:
    assert probability(value) == told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "about once in 590 times (p = 0.0017"),
        ({"p_value": 0.2}, "about once in 5 times (p = 0.2,"),
        ({"p_value": 0.7}, "more often than not (p = 0.7"),
        ({"p_value": 1e-38}, "less than once in a million times (p = 1.0 × 10⁻³⁸"),
        ({"wins": 0, "losses": 0, "p_value": 1.0}, "Neither was ever right where the other was wrong."),
    ],
)
def test_chance_in_words(changes: dict[str, Any], told: str) -> None:
    assert told in chance(card(**changes))


def test_without_a_comparison_nothing_is_said_of_chance() -> None:
    assert chance(card(p_value=None, wins=None, losses=None, incumbent=None)) == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "Better: on 200 examples the whole interval of the difference lies above zero"),
        ({"verdict": "worse", "interval": {"low": -0.3, "high": -0.1}}, "Worse: on 200 examples"),
        ({"verdict": "not enough data", "interval": {"low": -0.1, "high": 0.3}}, "holds zero, so 200 examples cannot"),
        ({"verdict": "not enough data"}, "leaves zero out, but too few of 200 examples differ"),
        ({"incumbent": None}, "Measured, not compared"),
    ],
)
def test_the_verdict_in_a_sentence(changes: dict[str, Any], told: str) -> None:
    assert told in verdict(card(**changes))


def test_metrics_have_a_name_and_a_meaning_known_or_not() -> None:
    assert metric("label_accuracy")[0] == "label accuracy"
    assert "most probable" in metric("label_accuracy")[1]
    assert metric("their_own") == ("their own", "A score from 0 to 1; higher is better.")
