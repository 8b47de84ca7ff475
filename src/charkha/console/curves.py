"""A run's curves as `plot` draws them, and what they show in a sentence. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from charkha.console.filters import number

MOST_POINTS = 400
Points = Sequence[dict[str, Any]]


class Curve(NamedTuple):
    """A picture of one measure: `series` for the macro `plot`, `told` for who cannot see it."""

    id: str
    title: str
    y: str
    explanation: str
    series: list[dict[str, Any]]
    told: str


_MEASURES = (
    ("loss", "Loss", "loss", "Cross-entropy of the wanted answers in a step, in nats per token. Lower is better.", 3),
    (
        "tokens_per_second",
        "Throughput",
        "tokens / s",
        "Tokens that went through the model in a second, the prompt's included.",
        0,
    ),
    ("learning_rate", "Learning rate", "rate", "How far a step goes: it rises in the warm-up and falls to zero.", 6),
)


def curves(runs: Sequence[tuple[str, Points]]) -> list[Curve]:
    """The curves of runs, each (its label, its points), one picture for each measure."""
    return [
        Curve(key, title, y, explanation, _series(key, runs), _told(title, key, runs, digits))
        for key, title, y, explanation, digits in _MEASURES
    ]


def _series(key: str, runs: Sequence[tuple[str, Points]]) -> list[dict[str, Any]]:
    return [{"label": label, "points": _known(key, points)} for label, points in runs]


def _known(key: str, points: Points) -> list[list[float]]:
    return [[point["step"], point[key]] for point in points if point[key] is not None]


def _told(title: str, key: str, runs: Sequence[tuple[str, Points]], digits: int) -> str:
    """Where each curve begins and ends."""
    told = []
    for label, points in runs:
        known = _known(key, points)
        if known:
            (first, begin), (last, end) = known[0], known[-1]
            told.append(f"{label}: {number(begin, digits)} at step {first}, {number(end, digits)} at step {last}")
    return f"{title} by step. {'; '.join(told) or 'Nothing yet'}."


class Measure(NamedTuple):
    """One figure of a finished run, written for people; `explanation` is empty where nobody knows it here."""

    name: str
    text: str
    explanation: str


_KNOWN = {
    "loss_first": ("Loss at first", "Mean of the first steps."),
    "loss_last": ("Loss at last", "Mean of the last steps."),
    "validation": ("Loss kept aside", "On examples that were kept aside and never learned, after a pass."),
    "examples": ("Examples learned", "Of the data set version, without those kept aside."),
    "kept_aside": ("Examples kept aside", "To see whether more passes still help."),
    "skipped": ("Examples skipped", "Those of which nothing could be learned."),
    "truncated": ("Examples shortened", "Those longer than max_length, which lost their start."),
    "tokens": ("Tokens of the data", "Prompts and answers once."),
    "tokens_trained": ("Tokens learned", "Of answers, over all passes."),
    "tokens_per_second": ("Throughput", "Tokens that went through the model in a second."),
    "seconds": ("Training took", "The loop alone, in seconds, without reading and writing."),
    "precision": ("Precision", "Of the base weights while training."),
    "steps": ("Steps", "Optimiser steps made."),
}


def measured(metrics: dict[str, Any]) -> list[Measure]:
    """The figures that a recipe recorded, the known ones first."""
    names = sorted(metrics, key=lambda name: (list(_KNOWN).index(name) if name in _KNOWN else len(_KNOWN), name))
    return [_measure(name, metrics[name]) for name in names]


def _measure(name: str, value: Any) -> Measure:
    title, explanation = _KNOWN.get(name, (name.replace("_", " ").capitalize(), ""))
    if isinstance(value, dict):
        return Measure(title, ", ".join(f"{_figure(each)} at step {at}" for at, each in value.items()), explanation)
    return Measure(title, _figure(value), explanation)


def _figure(value: Any) -> str:
    """A number to the digits that matter, anything else as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return number(value)
    return number(value, 1 if abs(value) >= 10 else 3)
