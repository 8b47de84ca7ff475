"""A release in words: its steps, what its evidence says, and who serves what after a rollback."""

from typing import Any

import pytest

from charkha.console import rollouts
from charkha.console.filters import milliseconds, percent
from charkha.release.judgement import Observation, judge

STEPS = [1, 10, 50, 100]


def rollout(status: str, share: int) -> dict[str, Any]:
    return {"status": status, "share": share, "steps": STEPS}


def decisions(*shares: int) -> list[dict[str, Any]]:
    return [{"share": share} for share in shares]


@pytest.mark.parametrize(
    ("status", "share", "taken", "states"),
    [
        ("preparing", 0, (0,), ["next", "next", "next", "next"]),
        ("running", 10, (0, 1, 10), ["done", "now", "next", "next"]),
        ("promoted", 100, (0, 1, 10, 50, 100), ["done", "done", "done", "done"]),
        ("promoted", 100, (0, 1, 100), ["done", "skipped", "skipped", "done"]),
        ("rolled_back", 0, (0, 1, 10, 0), ["done", "stopped", "next", "next"]),
        ("cancelled", 0, (0, 1, 0), ["stopped", "next", "next", "next"]),
        ("declined", 0, (0,), ["next", "next", "next", "next"]),
    ],
)
def test_the_ladder_says_how_far_it_came(status: str, share: int, taken: tuple[int, ...], states: list[str]) -> None:
    found = rollouts.ladder(rollout(status, share), decisions(*taken))
    assert [each.share for each in found] == STEPS
    assert [each.state for each in found] == states


def judged(*seen: Observation) -> dict[str, Any]:
    return judge(seen, 50, 0.05, 3).evidence


def seen(arm: Any, score: float | None, *, error: bool = False, slow: bool = False) -> Observation:
    return Observation(arm, error, slow, score)


def test_both_arms_are_told_measure_by_measure() -> None:
    evidence = judged(
        seen("candidate", 1.0),
        seen("candidate", None, error=True),
        seen("baseline", 0.5),
        seen("baseline", 0.0, slow=True),
    )
    evidence["latency_ms"] = {"candidate": {"p50": 120.0, "p95": None}, "baseline": {"p50": 90.0, "p95": 1500.0}}
    told = {row.name: (row.candidate, row.baseline) for row in rollouts.arms(evidence, {"slow_ms": 1234.0})}
    assert told == {
        "Scored answers": ("1", "2"),
        "Mean score": ("1.00", "0.25"),
        "Answers": ("2", "2"),
        "Failed": (f"{percent(0.5)} (1)", f"{percent(0)} (0)"),
        "Slow": (f"{percent(0)} (0)", f"{percent(0.5)} (1)"),
        "Latency p50": (milliseconds(120), milliseconds(90)),
        "Latency p95": ("–", milliseconds(1500)),
    }


def test_what_was_decided_before_latencies_were_kept_is_told_without_them() -> None:
    names = [row.name for row in rollouts.arms(judged(), {"slow_ms": None})]
    assert names == ["Scored answers", "Mean score", "Answers", "Failed", "Slow"]
    assert rollouts.arms({}, {}) == rollouts.bars({}) == []


def test_a_full_bar_is_a_verdict() -> None:
    good = [seen(arm, score) for _ in range(12) for arm, score in (("candidate", 1.0), ("baseline", 0.0))]
    better, *harms = rollouts.bars(judged(*good))
    assert (better.name, better.part) == ("better", 1.0)
    assert better.told.endswith(" of 20")
    assert [(each.name, each.part) for each in harms] == [
        ("scored lower", 0.0),
        ("failing more often", 0.0),
        ("slow more often", 0.0),
    ]
    half = rollouts.bars(judged(*good[:4]))[0]
    assert 0 < half.part < 1


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "no gateway process runs now"), (1, "1 gateway process serves"), (2, "2 gateway processes serve")],
)
def test_a_rollback_says_who_serves_what_and_how_soon(count: int, told: str) -> None:
    gateways = [{"host": "here", "pid": 40 + each, "version": 7} for each in range(count)]
    done = {"gateways": gateways, "milliseconds": 41.3, "rollback": {"plan_id": "01a1fdc5-fd65-7294-a1c0-56716d8e6d10"}}
    said = rollouts.gateways(done)
    assert told in said
    if count:
        assert f"as plan 6d8e6d10, {milliseconds(41.3)} after the click" in said
        assert "here (process 40, version 7)" in said


def test_every_action_and_status_has_words() -> None:
    assert rollouts.action("override") == "Promoted by hand, over the evidence"
    assert rollouts.action("their_own") == "Their own"
    assert rollouts.now(rollout("running", 10)).startswith("It answers 10 %")
    assert (rollouts.mark("roll_back"), rollouts.mark("wait"), rollouts.mark("advance")) == ("failed", "next", "done")
