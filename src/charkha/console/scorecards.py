"""What a scorecard's figures mean, in words. Pure; the figures are `evaluate`'s, read from its JSON."""

from collections.abc import Mapping
from typing import Any

from charkha.console.filters import number

Facts = Mapping[str, Any]

_METRICS = {
    "label_accuracy": "Share of the examples whose wanted label is the most probable of all labels.",
    "token_accuracy": "Share of the wanted answer's tokens that the model would have chosen, each given those before it.",
    "exact_match": "Share of the examples whose answer is the wanted one, but for case, outer space and final punctuation.",
    "token_f1": "How far the words of the answer and of the wanted answer agree: F1, from 0 to 1.",
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_RARELY, _SURE = 1e-6, 0.5


def metric(name: str) -> tuple[str, str]:
    """A metric's name for people, and what it measures."""
    return name.replace("_", " "), _METRICS.get(name, "A score from 0 to 1; higher is better.")


def probability(value: float) -> str:
    """A p value to two digits: "0.034", "1.2 × 10⁻³⁸"."""
    if value >= 0.001 or value == 0:
        return f"{value:.2g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(_SUPERSCRIPTS)}"


def chance(card: Facts) -> str:
    """What the p value says, in a sentence; empty where two versions were not compared."""
    value = card.get("p_value")
    if value is None:
        return ""
    told = f"(p = {probability(value)}, exact test of wins against losses)"
    if not card["wins"] and not card["losses"]:
        return "Neither was ever right where the other was wrong."
    if value >= _SURE:
        return f"If both were equally good, wins and losses this uneven would come more often than not {told}."
    often = "less than once in a million times" if value < _RARELY else f"about once in {_rounded(1 / value)} times"
    return f"If both were equally good, wins and losses this uneven would come by chance {often} {told}."


def _rounded(value: float) -> str:
    """To two digits, without an exponent."""
    return number(float(f"{value:.2g}")) if value >= 10 else f"{value:.1f}".removesuffix(".0")


def verdict(card: Facts) -> str:
    """What follows from a scorecard, in a sentence."""
    if card["incumbent"] is None:
        return "Measured, not compared: there was nothing to compare it with."
    n = f"{card['n']} examples"
    if card["verdict"] == "better":
        return f"Better: on {n} the whole interval of the difference lies above zero, so it may take traffic."
    if card["verdict"] == "worse":
        return f"Worse: on {n} the whole interval of the difference lies below zero, so it gets no traffic by itself."
    if card["interval"]["low"] <= 0 <= card["interval"]["high"]:
        return f"Not enough data: the interval of the difference holds zero, so {n} cannot tell the two apart."
    return f"Not enough data: the interval leaves zero out, but too few of {n} differ to believe it."
