"""Compares two versions on the same examples: a scorecard with intervals, a verdict, and what speaks against it.

Pure. A score is 1 for right and 0 for wrong, or graded in between; the two kinds take different intervals.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from charkha.core.errors import Invalid
from charkha.evaluate.statistics import Interval, Pairs, bootstrap, mcnemar, newcombe, wilson

Verdict = Literal["better", "worse", "not enough data"]

# Fewer graded pairs than this tell too little of a spread for the bootstrap to be believed.
MINIMUM_GRADED = 20


@dataclass(frozen=True, slots=True)
class Pair:
    """The scores, in [0, 1], that two versions got on one example; `label` is the example's class if it has one."""

    incumbent: float
    candidate: float
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """A mean score and its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Both versions on the examples of one class."""

    label: str
    n: int
    incumbent: float
    candidate: float
    p_value: float

    @property
    def difference(self) -> float:
        """Candidate − incumbent."""
        return self.candidate - self.incumbent


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The comparison of a candidate with the incumbent on `n` examples.

    `difference` is candidate − incumbent with its interval; `wins` and `losses` count the examples on which the
    candidate scored higher and lower; `p_value` is of the exact test that both are equally likely. `contradictions`
    are sentences that speak against the verdict or qualify it.
    """

    n: int
    graded: bool
    confidence: float
    incumbent: Rate
    candidate: Rate
    difference: float
    interval: Interval
    wins: int
    losses: int
    p_value: float
    verdict: Verdict
    classes: tuple[ClassScore, ...]
    contradictions: tuple[str, ...]


def compare(pairs: Sequence[Pair], *, confidence: float = 0.95, seed: int = 0) -> Scorecard:
    """Compare two versions by their paired scores. Raises Invalid for no pairs or a score outside [0, 1].

    "better" and "worse" take an interval that excludes zero. Beside that, 0/1 scores take an exact p-value of at most
    1 − confidence, because the interval is an approximation on few examples, and graded scores take at least
    MINIMUM_GRADED pairs. `seed` fixes the bootstrap of graded scores.
    """
    _check(pairs, confidence)
    graded = any(score not in (0, 1) for pair in pairs for score in (pair.incumbent, pair.candidate))
    wins, losses = _wins(pairs), _losses(pairs)
    p_value = mcnemar(wins, losses)
    interval = _interval(pairs, graded, confidence, seed)
    enough = len(pairs) >= MINIMUM_GRADED if graded else p_value <= 1 - confidence
    verdict = _verdict(interval, enough)
    classes = _classes(pairs)
    return Scorecard(
        n=len(pairs),
        graded=graded,
        confidence=confidence,
        incumbent=_rate([pair.incumbent for pair in pairs], graded, confidence, seed),
        candidate=_rate([pair.candidate for pair in pairs], graded, confidence, seed),
        difference=_mean_difference(pairs),
        interval=interval,
        wins=wins,
        losses=losses,
        p_value=p_value,
        verdict=verdict,
        classes=classes,
        contradictions=_contradictions(verdict, interval, enough, classes, 1 - confidence),
    )


def _check(pairs: Sequence[Pair], confidence: float) -> None:
    if not pairs:
        raise Invalid("There are no examples to compare on.", remedy="Give the suite at least one example.")
    if not 0 < confidence < 1:
        raise Invalid(f"A confidence of {confidence} is impossible.", remedy="Give 0.95, say.", param="confidence")
    for place, pair in enumerate(pairs):
        if not (0 <= pair.incumbent <= 1 and 0 <= pair.candidate <= 1):
            raise Invalid(f"Example {place} has a score outside 0 to 1.", remedy="Make the evaluator score in 0 to 1.")


def _wins(pairs: Sequence[Pair]) -> int:
    return sum(pair.candidate > pair.incumbent for pair in pairs)


def _losses(pairs: Sequence[Pair]) -> int:
    return sum(pair.candidate < pair.incumbent for pair in pairs)


def _mean_difference(pairs: Sequence[Pair]) -> float:
    return fmean(pair.candidate for pair in pairs) - fmean(pair.incumbent for pair in pairs)


def _interval(pairs: Sequence[Pair], graded: bool, confidence: float, seed: int) -> Interval:
    if graded:
        return bootstrap([pair.candidate - pair.incumbent for pair in pairs], confidence, seed)
    both = sum(pair.candidate == pair.incumbent == 1 for pair in pairs)
    wins, losses = _wins(pairs), _losses(pairs)
    return newcombe(Pairs(both, wins, losses, len(pairs) - both - wins - losses), confidence)


def _rate(scores: Sequence[float], graded: bool, confidence: float, seed: int) -> Rate:
    interval = bootstrap(scores, confidence, seed) if graded else wilson(sum(scores), len(scores), confidence)
    return Rate(fmean(scores), interval)


def _verdict(interval: Interval, enough: bool) -> Verdict:
    if not enough or not interval.excludes(0):
        return "not enough data"
    return "better" if interval.low > 0 else "worse"


def _classes(pairs: Sequence[Pair]) -> tuple[ClassScore, ...]:
    grouped: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.label is not None:
            grouped[pair.label].append(pair)
    return tuple(
        ClassScore(
            label,
            len(members),
            fmean(pair.incumbent for pair in members),
            fmean(pair.candidate for pair in members),
            mcnemar(_wins(members), _losses(members)),
        )
        for label, members in sorted(grouped.items())
    )


def _contradictions(
    verdict: Verdict, interval: Interval, enough: bool, classes: Sequence[ClassScore], alpha: float
) -> tuple[str, ...]:
    """Classes that moved against the verdict, and an interval that the exact test or the sample size does not back."""
    found = []
    if interval.excludes(0) and not enough:
        found.append("The interval excludes zero, but there are too few examples to believe it.")
    against = -1 if verdict == "better" else 1 if verdict == "worse" else 0
    for each in classes:
        if each.difference * against > 0:
            weight = "significantly" if each.p_value <= alpha else "within chance"
            found.append(
                f"Class '{each.label}' moved from {each.incumbent:.2f} to {each.candidate:.2f} "
                f"on {each.n} examples, {weight}."
            )
    return tuple(found)
