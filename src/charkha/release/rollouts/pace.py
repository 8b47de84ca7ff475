"""Which steps of a rollout an endpoint's traffic can decide in reasonable time. Pure: no clock, no I/O.

A small first share protects users by showing the candidate to few of them until there is a verdict. That number is set
by how many scored answers the verdict takes, and hardly by the share: at a tenth of the share the same verdict takes
ten times as long. So where traffic is thin a small step costs time and protects nobody, and is left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from charkha.core.ids import instant
from charkha.release.ports import Outcome
from charkha.release.sequential import growth, ratio

_EDGE = 0.02
"""Means are kept this far from 0 and 1, where one surprise would be worth everything."""
_LEARNING = 1.6
"""Outcomes that a verdict really takes, to what it would take if both means were known beforehand (simulated)."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Scored answers of the baseline of late: their mean, and how many arrive in a second."""

    mean: float
    per_second: float


def traffic(recent: Sequence[Outcome]) -> Traffic | None:
    """What the baseline's answers of late show; None where fewer than two were scored at different times."""
    scored = [(instant(each.inference_id), each.score) for each in recent if each.score is not None]
    if len(scored) < 2:
        return None
    began = sorted(at for at, _ in scored)
    seconds = (began[-1] - began[0]).total_seconds()
    if seconds <= 0:
        return None
    return Traffic(sum(score for _, score in scored) / len(scored), (len(scored) - 1) / seconds)


def outcomes_needed(gain: float, mean: float, share: int, alpha: float, minimum: int) -> float:
    """Scored candidate answers that "better" is expected to take at `share` percent, if the candidate is `gain` higher."""
    low = min(max(mean, _EDGE), 1 - 2 * _EDGE)
    high = min(max(mean + gain, low + _EDGE), 1 - _EDGE)
    return max(minimum, _LEARNING * math.log(1 / alpha) / growth(high, low, ratio(share)))


def seconds_at(share: int, gain: float, seen: Traffic, alpha: float, minimum: int) -> float:
    """How long a step at `share` percent is expected to take."""
    return outcomes_needed(gain, seen.mean, share, alpha, minimum) / (seen.per_second * share / 100)


def fitting(
    steps: Sequence[int], gain: float, seen: Traffic, alpha: float, minimum: int, patience: float
) -> tuple[tuple[int, ...], str]:
    """The steps without the first ones that would take longer than `patience` seconds, and a sentence that says why.

    The last step below 100 % always stays, however long it takes. The sentence is empty if no step is left out.
    """
    kept = list(steps)
    slowest = 0.0
    while len(kept) > 2 and (expected := seconds_at(kept[0], gain, seen, alpha, minimum)) > patience:
        slowest = max(slowest, expected)
        kept.pop(0)
    left_out = steps[: len(steps) - len(kept)]
    if not left_out:
        return tuple(steps), ""
    shares = " and ".join(f"{share} %" for share in left_out)
    return tuple(kept), (
        f"Begins at {kept[0]} %: at {seen.per_second:.2g} scored answers a second {shares} would take up to "
        f"{slowest / 60:.0f} minutes to tell, for the same number of users."
    )
