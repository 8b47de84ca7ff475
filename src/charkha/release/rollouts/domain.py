"""What a rollout is, what may become of it, and which plan goes with that. Pure: no clock, no I/O.

A rollout is *preparing* while engines load its adapter, *running* while its candidate takes a share of the traffic, and
ends *promoted*, *rolled_back*, *superseded* (somebody moved the plan), *cancelled* or *failed*. A *declined* one never
began: its record says why. A promoted or superseded candidate can still be rolled back.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from charkha.core.errors import Conflict, Invalid
from charkha.release.judgement import Arm, Judgement, Observation, check_steps
from charkha.release.ports import Outcome, Scorecard, Share, Variant
from charkha.release.registry.domain import Version

Status = Literal["preparing", "running", "promoted", "rolled_back", "superseded", "cancelled", "failed", "declined"]
Action = Literal[
    "prepare", "start", "wait", "advance", "promote", "override", "roll_back", "supersede", "cancel", "fail", "decline"
]

ACTIVE: Final = ("preparing", "running")
CAN_GO_BACK: Final = ("running", "promoted", "superseded")
RECENT: Final = timedelta(hours=1)
"""How far back the baseline's answers are looked at, to say what is slow and how much traffic there is."""
_SLOWER: Final = 2.0
_SLOWER_MS: Final = 200.0


class Rules(msgspec.Struct, frozen=True):
    """How a rollout is judged. `slow_ms`: from how many milliseconds on an answer counts as slow, None: none does.

    `alpha` bounds the probability of a false verdict and `minimum` is the fewest scored candidate outcomes for
    "better", both at each step.
    """

    alpha: float = 0.05
    minimum: int = 5
    slow_ms: float | None = None


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate's way into an endpoint's traffic, as it stands. `share` is the candidate's percent."""

    id: UUID
    endpoint_id: UUID
    candidate: str
    candidate_version_id: UUID
    candidate_variant_id: UUID | None
    baseline_variant_id: UUID
    baseline_plan_id: UUID
    plan_id: UUID
    evaluation_id: UUID | None
    steps: tuple[int, ...]
    share: int
    status: Status
    rules: Rules
    judgement: dict[str, Any] | None
    reason: str | None
    started_at: datetime
    step_started_at: datetime
    ended_at: datetime | None


class Decision(msgspec.Struct, frozen=True):
    """One thing that was decided about a rollout, and the evidence that it stood on."""

    id: UUID
    at: datetime
    action: Action
    share: int
    verdict: str
    reason: str
    evidence: dict[str, Any]


class Release(msgspec.Struct, frozen=True):
    """A rollout with every decision that was taken, oldest first."""

    rollout: Rollout
    decisions: list[Decision]


class Rollback(msgspec.Struct, frozen=True):
    """What one rollback did. `version` is the snapshot version from which on gateways serve `plan_id`."""

    rollout_id: UUID
    endpoint_id: UUID
    candidate: str
    plan_id: UUID
    previous_plan_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Move:
    """A transition: the status and share after it, and whether the live plan moves with it."""

    status: Status
    share: int
    moves_plan: bool


# (status, action) → (status after, share after: None keeps or takes the given one, does the plan move)
_MOVES: Final[Mapping[tuple[Status, Action], tuple[Status, int | None, bool]]] = {
    ("preparing", "start"): ("running", None, True),
    ("preparing", "supersede"): ("superseded", 0, False),
    ("preparing", "cancel"): ("cancelled", 0, False),
    ("preparing", "fail"): ("failed", 0, False),
    ("running", "wait"): ("running", None, False),
    ("running", "advance"): ("running", None, True),
    ("running", "promote"): ("promoted", 100, True),
    ("running", "override"): ("promoted", 100, True),
    ("running", "roll_back"): ("rolled_back", 0, True),
    ("running", "cancel"): ("cancelled", 0, True),
    ("running", "supersede"): ("superseded", None, False),
    ("promoted", "roll_back"): ("rolled_back", 0, True),
    ("superseded", "roll_back"): ("rolled_back", 0, True),
}


def transition(status: Status, share: int, action: Action, to: int | None = None) -> Move:
    """What `action` makes of a rollout; `to` is the share of a start or an advance, in percent.

    Raises Conflict where the action is impossible, and Invalid for a share that does not rise or leaves no baseline.
    """
    if (status, action) not in _MOVES:
        raise Conflict(
            f"A rollout that is {status.replace('_', ' ')} cannot {action.replace('_', ' ')}.",
            remedy="See GET /releases for what is under way.",
        )
    after, fixed, moves = _MOVES[status, action]
    if action not in ("start", "advance"):
        return Move(after, share if fixed is None else fixed, moves)
    if to is None or not share < to < 100:
        raise Invalid(f"A step from {share} % to {to} % is impossible.", remedy="Rise, and stay below 100.")
    return Move(after, to, moves)


def split(baseline: UUID, candidate: UUID | None, share: int) -> tuple[Share, ...]:
    """The shares of a plan that gives the candidate `share` percent: each above 0, 100 in all."""
    given = ((baseline, 100 - share), (candidate, share))
    return tuple(Share(variant, part) for variant, part in given if variant is not None and part)


def check_canary(steps: Sequence[int]) -> tuple[int, ...]:
    """The steps of a rollout that can be judged. Raises Invalid unless they rise to 100 from less than 100."""
    check_steps(steps)
    if steps[0] == 100:
        raise Invalid(
            "A candidate that begins at 100 % has no baseline to be judged against.",
            remedy="Begin with less, such as 1, 10, 50, 100.",
            param="steps",
        )
    return tuple(steps)


def check_rules(rules: Rules) -> Rules:
    """The rules themselves. Raises Invalid for values that judge nothing."""
    if not 0 < rules.alpha < 1:
        raise Invalid(f"alpha {rules.alpha} is no probability.", remedy="Give a number between 0 and 1.", param="alpha")
    if rules.minimum < 1:
        raise Invalid("A verdict takes at least 1 outcome.", remedy="Give 1 or more.", param="minimum")
    if rules.slow_ms is not None and not 0 < rules.slow_ms < math.inf:
        raise Invalid(f"{rules.slow_ms} ms is no limit.", remedy="Give more than 0.", param="slow_ms")
    return rules


@dataclass(frozen=True, slots=True)
class Ground:
    """What a rollout would start from: the live plan, its greatest variant, and whether another is under way."""

    endpoint_id: UUID
    plan_id: UUID
    shares: tuple[Share, ...]
    baseline: Variant
    occupied: bool


def objection(version: Version, ground: Ground) -> Conflict | None:
    """Why a version cannot be rolled out from here, or None."""
    baseline = ground.baseline
    if ground.occupied:
        return Conflict("Another rollout of this endpoint is under way.", remedy="Wait for its end, or cancel it.")
    if len(ground.shares) != 1:
        return Conflict(
            "The endpoint's traffic is split by hand, so there is no one baseline.", remedy="Give one variant 100 %."
        )
    if baseline.version_id == version.id:
        return Conflict(f"{version.reference} has all of the endpoint's traffic already.", remedy="Nothing is to do.")
    if (version.engine, version.base_model) != (baseline.engine, baseline.model):
        return Conflict(
            f"{version.reference} is for '{version.base_model}' on {version.engine}, but the endpoint serves "
            f"'{baseline.model}' on {baseline.engine}.",
            remedy="Train on the model that the endpoint serves.",
        )
    return None


def why_not(card: Scorecard, version: Version, ground: Ground) -> str | None:
    """Why a scorecard leads to no rollout, or None: only "better" does, and only against what is live now."""
    if card.verdict != "better":
        return f"The scorecard says: {card.verdict}. {card.summary}".strip()
    if card.incumbent_version_id not in (None, ground.baseline.version_id):
        return "The candidate was compared with a version that no longer has the traffic. Evaluate it again."
    refused = objection(version, ground)
    return None if refused is None else str(refused)


def observations(outcomes: Iterable[Outcome], candidate: UUID | None, rules: Rules) -> list[Observation]:
    """Outcomes as they are judged: by arm, and slow where they took longer than the rules allow."""
    return [
        Observation(_arm(outcome, candidate), outcome.error, _slow(outcome, rules), outcome.score)
        for outcome in outcomes
    ]


def _arm(outcome: Outcome, candidate: UUID | None) -> Arm:
    return "candidate" if outcome.variant_id == candidate else "baseline"


def _slow(outcome: Outcome, rules: Rules) -> bool:
    limit, took = rules.slow_ms, outcome.duration_ms
    return limit is not None and took is not None and took > limit


def slow_limit(durations: Sequence[float]) -> float | None:
    """From how many milliseconds on answers are slow: twice the 95th percentile, and 200 ms above it at the least."""
    if not durations:
        return None
    p95 = sorted(durations)[math.ceil(0.95 * len(durations)) - 1]
    return max(p95 * _SLOWER, p95 + _SLOWER_MS)


def told(judgement: Judgement, share: int) -> dict[str, Any]:
    """A judgement as it is stored with its rollout."""
    return {
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "share": share,
        "evidence": judgement.evidence,
    }


def is_news(before: Mapping[str, Any] | None, judgement: Judgement, share: int) -> bool:
    """Whether a judgement deserves a decision of its own: another verdict, or the first at this share."""
    return before is None or (before["verdict"], before["share"]) != (judgement.verdict, share)
