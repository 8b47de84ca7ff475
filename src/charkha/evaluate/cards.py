"""The card of an evaluation: the headline comparison, the greedy one beside it, and what to say of them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from charkha.evaluate.domain import Pair, Rate, Scorecard, Verdict, compare
from charkha.evaluate.scoring import Metric
from charkha.evaluate.statistics import Interval

Scores = Sequence[float | None]
"""The scores of a version on the examples of a suite, in order; None where an example was passed over."""
Measured = Mapping[Metric, Scores]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One metric: means, and where there is an incumbent the difference (candidate − incumbent) with its interval."""

    metric: Metric
    n: int
    candidate: float
    incumbent: float | None
    difference: float | None
    interval: Interval | None
    verdict: Verdict


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The headline metric in full, `greedy` beside it. Without an incumbent the candidate is measured, not compared.

    `skipped` counts examples that one of the versions could not be measured on.
    """

    metric: Metric
    n: int
    skipped: int
    graded: bool
    confidence: float
    candidate: Rate
    incumbent: Rate | None
    difference: float | None
    interval: Interval | None
    wins: int | None
    losses: int | None
    p_value: float | None
    verdict: Verdict
    classes: list[dict[str, Any]]
    contradictions: list[str]
    greedy: Comparison | None
    summary: str


def card(
    wanted: tuple[Metric, Metric], labels: Sequence[str | None], candidate: Measured, incumbent: Measured | None
) -> Card:
    """The card of a candidate, and of an incumbent if there is one, from their scores by metric.

    `wanted` are the headline metric and the greedy one; the greedy one is the headline where the first was not measured
    for every version. Raises Invalid where nothing was measured, or no example for both.
    """
    by_likelihood, greedy = wanted
    both = [candidate] if incumbent is None else [candidate, incumbent]
    metric = by_likelihood if all(by_likelihood in measured for measured in both) else greedy
    found = _compared(metric, labels, candidate, incumbent)
    beside = all(greedy in measured for measured in both)
    return Card(
        metric=metric,
        skipped=len(labels) - found.n,
        greedy=_beside(greedy, labels, candidate, incumbent) if beside else None,
        summary=_summary(metric, found, incumbent is not None),
        **_facts(found, incumbent is not None),
    )


def _compared(
    metric: Metric, labels: Sequence[str | None], candidate: Measured, incumbent: Measured | None
) -> Scorecard:
    """The comparison on the examples that both were measured on; with itself where there is no incumbent."""
    scores = candidate.get(metric, [])
    others = scores if incumbent is None else incumbent.get(metric, [])
    pairs = [
        Pair(incumbent=old, candidate=new, label=label)
        for old, new, label in zip(others, scores, labels, strict=False)
        if old is not None and new is not None
    ]
    return compare(pairs)


def _facts(found: Scorecard, compared: bool) -> dict[str, Any]:
    """The fields of a card that come from a comparison; those that take two versions are None without an incumbent."""
    whole = {"n": found.n, "graded": found.graded, "confidence": found.confidence, "candidate": found.candidate}
    names = ("incumbent", "difference", "interval", "wins", "losses", "p_value")
    pairwise = {name: getattr(found, name) if compared else None for name in names}
    told: dict[str, Any] = {
        "classes": msgspec.to_builtins(list(found.classes)) if compared else [],
        "contradictions": list(found.contradictions) if compared else [],
        "verdict": found.verdict,
    }
    return {**whole, **pairwise, **told}


def _beside(
    metric: Metric, labels: Sequence[str | None], candidate: Measured, incumbent: Measured | None
) -> Comparison:
    found = _compared(metric, labels, candidate, incumbent)
    compared = incumbent is not None
    return Comparison(
        metric=metric,
        n=found.n,
        candidate=found.candidate.value,
        incumbent=found.incumbent.value if compared else None,
        difference=found.difference if compared else None,
        interval=found.interval if compared else None,
        verdict=found.verdict,
    )


def _summary(metric: Metric, found: Scorecard, compared: bool) -> str:
    """One sentence for people."""
    name = metric.replace("_", " ")
    if not compared:
        return f"{name} {found.candidate.value:.3f} on {found.n} examples; there was nothing to compare it with."
    return (
        f"{name} {found.incumbent.value:.3f} → {found.candidate.value:.3f} on {found.n} examples: {found.difference:+.3f} "
        f"({100 * found.confidence:.0f} % interval {found.interval.low:+.3f} to {found.interval.high:+.3f})."
    )
