"""Judges a rollout: is the candidate better, worse, or is there not enough data? And what the rollout does then.

Pure: observations in, a judgement out; no clock, no I/O. The statistics are in `sequential`.

Three guards watch the candidate beside a concurrent baseline: quality (the score of its feedback), errors, and latency
(slower than a limit fixed before the rollout began). Each guard is its own e-process for "worse" and is held against
guards/alpha, so a candidate that is as good on all three is rolled back with probability at most alpha a step, at
any number of looks (Bonferroni: the guards need not be independent). Only quality can make it "better", at alpha;
a rollout is live only after every step has said so, so the chance of promoting a candidate that is not better
is at most alpha, not alpha times the number of steps.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from charkha.core.errors import Invalid
from charkha.release.sequential import Higher, ratio

Arm = Literal["candidate", "baseline"]
Verdict = Literal["better", "worse", "not enough data"]

STEPS = (1, 10, 50, 100)


@dataclass(frozen=True, slots=True)
class Observation:
    """What became of one request. `score` is its feedback from 0 (bad) to 1 (good), or None while there is none."""

    arm: Arm
    error: bool
    slow: bool
    score: float | None

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:
            raise Invalid(f"The score {self.score} is outside 0 to 1.", remedy="Scale scores to 0 to 1.", param="score")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the reason in a sentence, and the figures that it stands on (JSON values only)."""

    verdict: Verdict
    reason: str
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Guard:
    """One watched figure. `harm` maps an observation to 0 (good) … 1 (bad), or None if it says nothing."""

    name: str
    harm: Callable[[Observation], float | None]
    complaint: str


_GUARDS = (
    _Guard("errors", lambda seen: float(seen.error), "fails more often"),
    _Guard("latency", lambda seen: float(seen.slow), "is slow more often"),
    _Guard("quality", lambda seen: None if seen.score is None else 1 - seen.score, "is scored lower"),
)


def judge(observations: Iterable[Observation], share: int, alpha: float = 0.05, minimum: int = 5) -> Judgement:
    """Judge one step of a rollout by all of its observations so far, in the order in which they came.

    `share` is the candidate's percent of the traffic; it must not change while one list of observations grows.
    `alpha` bounds the probability of a false "better", and of a false "worse", over all looks at this step.
    "better" also takes at least `minimum` scored candidate outcomes, and the evidence must still stand now; harm is
    believed at its peak. Raises Invalid for a share or an alpha out of range.
    """
    _check(share, alpha)
    seen, r = tuple(observations), ratio(share)
    harms = {guard.name: Higher(r).feed(_outcomes(seen, guard.harm)) for guard in _GUARDS}
    gain = Higher(r).feed(_outcomes(seen, lambda observation: observation.score))
    bars = (math.log(1 / alpha), math.log(len(_GUARDS) / alpha))
    more = _more(gain, bars[0], minimum)
    evidence = _evidence(gain, harms, bars) | {"share": share, "alpha": alpha, "minimum": minimum, "more": more}
    worse = max(_GUARDS, key=lambda guard: harms[guard.name].peak)
    if harms[worse.name].peak >= bars[1]:
        told = _means("score", gain) if worse.name == "quality" else _means(worse.name, harms[worse.name])
        return Judgement("worse", f"The candidate {worse.complaint}: {told}.", evidence)
    if gain.log_e >= bars[0] and gain.candidate.n >= minimum:
        return Judgement("better", f"The candidate is scored higher: {_means('score', gain)}.", evidence)
    return Judgement("not enough data", _what_is_missing(gain, more), evidence)


def _check(share: int, alpha: float) -> None:
    if not 1 <= share <= 100:
        raise Invalid(f"A share of {share} % is impossible.", remedy="Give 1 to 100.", param="share")
    if not 0 < alpha < 1:
        raise Invalid(f"alpha {alpha} is no probability.", remedy="Give a number between 0 and 1.", param="alpha")


def _outcomes(
    seen: Sequence[Observation], value: Callable[[Observation], float | None]
) -> Iterable[tuple[bool, float]]:
    values = ((observation.arm == "candidate", value(observation)) for observation in seen)
    return ((of_candidate, outcome) for of_candidate, outcome in values if outcome is not None)


def _more(gain: Higher, bar: float, minimum: int) -> int | None:
    """Candidate outcomes still expected to be needed for "better"; None when nothing speaks for it."""
    short = max(0, minimum - gain.candidate.n)
    if gain.log_e >= bar:
        return short
    blocks = gain.blocks_until(bar)
    waiting = gain.candidate.n - gain.blocks
    return None if blocks is None else max(short, blocks - waiting, 1)


def _what_is_missing(gain: Higher, more: int | None) -> str:
    if not gain.baseline.n:
        return "No scored outcome of a concurrent baseline yet."
    if more is None:
        return f"Nothing says so far that the candidate is better: {_means('score', gain)}."
    return f"About {more} more scored candidate outcomes are expected to be needed: {_means('score', gain)}."


def _means(what: str, process: Higher) -> str:
    arms = ((process.candidate, "candidate"), (process.baseline, "baseline"))
    told = (f"{name} {'–' if arm.mean is None else f'{arm.mean:.2f}'} of {arm.n}" for arm, name in arms)
    return f"{what}: {', '.join(told)}"


def _evidence(gain: Higher, harms: dict[str, Higher], bars: tuple[float, float]) -> dict[str, Any]:
    """Figures of each process. Under "worse" the means are of harm, so quality's is of 1 − score."""
    guards = {name: _figures(process, bars[1]) for name, process in harms.items()}
    return {"better": _figures(gain, bars[0]), "worse": guards, "ratio": gain.ratio}


def _figures(process: Higher, bar: float) -> dict[str, Any]:
    """Means and counts of both arms, the e-value (capped, so that it stays a JSON number), its peak and its bar."""
    e_value, peak, needed = (math.exp(min(value, 700.0)) for value in (process.log_e, process.peak, bar))
    arms = {"candidate": process.candidate, "baseline": process.baseline}
    counts = {name: {"n": arm.n, "mean": arm.mean} for name, arm in arms.items()}
    return {**counts, "blocks": process.blocks, "e_value": e_value, "peak": peak, "needed": needed}


@dataclass(frozen=True, slots=True)
class Advance:
    """Give the candidate this percent of the traffic and judge it afresh there."""

    share: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Give the candidate all traffic: the rollout is over. No concurrent baseline is left to be judged against."""


@dataclass(frozen=True, slots=True)
class RollBack:
    """Take all traffic from the candidate."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Keep the share and gather more data."""

    reason: str


Step = Advance | Finish | RollBack | Wait


def next_step(steps: Sequence[int], current: int, judgement: Judgement) -> Step:
    """What a rollout at `current` percent does, given the judgement of that step.

    `steps` rise strictly and end at 100, and `current` is one of them; Invalid otherwise. Only "better" advances.
    """
    check_steps(steps)
    if current not in steps:
        raise Invalid(f"The rollout is at {current} %, which is not a step.", remedy=f"Steps: {list(steps)}.")
    if judgement.verdict == "worse":
        return RollBack(judgement.reason)
    if current == 100:
        return Finish()
    if judgement.verdict == "not enough data":
        return Wait(judgement.reason)
    following = steps[list(steps).index(current) + 1]
    return Finish() if following == 100 else Advance(following)


def check_steps(steps: Sequence[int]) -> None:
    """Raise Invalid unless `steps` rise strictly from at least 1 to exactly 100."""
    rising = all(low < high for low, high in itertools.pairwise(steps))
    if not steps or steps[0] < 1 or steps[-1] != 100 or not rising:
        raise Invalid(f"{list(steps)} are no rollout steps.", remedy="Rise from at least 1 to 100.", param="steps")
