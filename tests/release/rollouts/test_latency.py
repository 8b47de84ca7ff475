"""What is told of each arm's latency: percentiles of answers that did not fail, and nothing where there are none."""

from uuid import uuid4

from charkha.release.ports import Outcome
from charkha.release.rollouts.latency import latencies

CANDIDATE, BASELINE = uuid4(), uuid4()


def outcome(variant: object, took: float | None, error: bool = False) -> Outcome:
    return Outcome(uuid4(), variant, error, took, None)  # type: ignore[arg-type]


def test_each_arm_has_its_own_percentiles_and_failures_are_left_out() -> None:
    seen = [outcome(BASELINE, float(took)) for took in range(1, 101)]
    seen += [outcome(CANDIDATE, 7.0), outcome(CANDIDATE, None), outcome(CANDIDATE, 9000.0, error=True)]
    told = latencies(seen, CANDIDATE)
    assert told == {"candidate": {"p50": 7.0, "p95": 7.0}, "baseline": {"p50": 50.0, "p95": 95.0}}


def test_nothing_seen_is_none_and_not_zero() -> None:
    assert latencies([], CANDIDATE) == {"candidate": {"p50": None, "p95": None}, "baseline": {"p50": None, "p95": None}}
