"""How long the answers of each arm took, for people to see beside a verdict. Pure, and nothing is decided by it."""

import math
from collections.abc import Iterable
from uuid import UUID

from charkha.release.judgement import Arm
from charkha.release.ports import Outcome

Latency = dict[str, float | None]


def latencies(outcomes: Iterable[Outcome], candidate: UUID | None) -> dict[Arm, Latency]:
    """The median and the 95th percentile of each arm's answers that did not fail, in ms; None where there are none."""
    took: dict[Arm, list[float]] = {"candidate": [], "baseline": []}
    for each in outcomes:
        if each.duration_ms is not None and not each.error:
            took["candidate" if each.variant_id == candidate else "baseline"].append(each.duration_ms)
    return {arm: {"p50": _percentile(found, 0.5), "p95": _percentile(found, 0.95)} for arm, found in took.items()}


def _percentile(values: list[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else None
