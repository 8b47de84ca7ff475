"""Intervals and tests for paired comparisons, in the standard library alone. Knows nothing of versions or verdicts.

Confidence is a probability such as 0.95, two-sided. Callers pass sane values; domain code checks what people send.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether `value` is outside."""
        return value < self.low or value > self.high


@dataclass(frozen=True, slots=True)
class Pairs:
    """The four counts of two yes-or-no outcomes on the same examples."""

    both: int
    candidate_only: int
    incumbent_only: int
    neither: int

    @property
    def n(self) -> int:
        """Examples in all."""
        return self.both + self.candidate_only + self.incumbent_only + self.neither


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson, "Probable inference, the law of succession…", JASA 22, 1927)."""
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    p, z2n = successes / n, z * z / n
    centre = (p + z2n / 2) / (1 + z2n)
    half = z / (1 + z2n) * math.sqrt(p * (1 - p) / n + z2n / (4 * n))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def newcombe(pairs: Pairs, confidence: float = 0.95) -> Interval:
    """Interval of candidate − incumbent, two proportions on the same examples.

    Method 10 of Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17, 1998: Wilson's intervals of both arms, joined with their correlation.
    """
    right = (pairs.both + pairs.candidate_only, pairs.both + pairs.incumbent_only)
    p_c, p_i = (count / pairs.n for count in right)
    c, i = (wilson(count, pairs.n, confidence) for count in right)
    phi, difference = _correlation(pairs), p_c - p_i
    below = _joined(p_c - c.low, i.high - p_i, phi)
    above = _joined(c.high - p_c, p_i - i.low, phi)
    return Interval(max(-1.0, difference - below), min(1.0, difference + above))


def _joined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _correlation(pairs: Pairs) -> float:
    """Phi of the two-by-two table, with Newcombe's correction for continuity where it is positive."""
    candidate, incumbent = pairs.both + pairs.candidate_only, pairs.both + pairs.incumbent_only
    margins = candidate * (pairs.n - candidate) * incumbent * (pairs.n - incumbent)
    if margins == 0:
        return 0.0
    excess = pairs.both * pairs.neither - pairs.candidate_only * pairs.incumbent_only
    corrected = max(excess - pairs.n / 2, 0.0) if excess > 0 else excess
    return corrected / math.sqrt(margins)


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided exact p-value that wins and losses are equally likely; ties say nothing.

    McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12, 1947,
    in its binomial form; with graded scores it is the sign test.
    """
    n, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**n))


def bootstrap(values: Sequence[float], confidence: float = 0.95, seed: int = 0, resamples: int = 2000) -> Interval:
    """BCa interval of the mean: bias-corrected, accelerated (Efron, "Better bootstrap confidence intervals", JASA 82, 1987).

    Equal values give the point that they are, however few: require a number of examples before believing it.
    """
    n, mean = len(values), fmean(values)
    if min(values) == max(values):
        return Interval(mean, mean)
    rng = random.Random(seed)
    means = sorted(fmean(rng.choices(values, k=n)) for _ in range(resamples))
    bias = _bias(means, mean)
    acceleration = _acceleration(values, mean)
    low, high = (
        _corrected(_NORMAL.inv_cdf(q), bias, acceleration) for q in ((1 - confidence) / 2, (1 + confidence) / 2)
    )
    return Interval(_quantile(means, low), _quantile(means, high))


def _bias(means: Sequence[float], mean: float) -> float:
    """Median bias in normal units; ties with the mean count half, as scores with few values make many."""
    below = sum(each < mean for each in means) + sum(each == mean for each in means) / 2
    return _NORMAL.inv_cdf(min(max(below / len(means), 1 / (2 * len(means))), 1 - 1 / (2 * len(means))))


def _acceleration(values: Sequence[float], mean: float) -> float:
    """For a mean the jackknife reduces to a sixth of the skewness over √n."""
    deviations = [value - mean for value in values]
    scale = math.fsum(d * d for d in deviations) ** 1.5
    return math.fsum(d**3 for d in deviations) / (6 * scale) if scale else 0.0  # all deviations underflow


def _corrected(z: float, bias: float, acceleration: float) -> float:
    shifted = bias + z
    return _NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))


def _quantile(ordered: Sequence[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, max(0, math.ceil(q * len(ordered)) - 1))]
