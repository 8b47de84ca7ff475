"""Verdicts on made-up traffic whose truth is known, and the policy that follows them."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.release.judgement import (
    STEPS,
    Advance,
    Finish,
    Judgement,
    Observation,
    RollBack,
    Wait,
    judge,
    next_step,
)

GOOD = {"error": 0.01, "slow": 0.05, "score": 0.7}
OBSERVATIONS = st.lists(
    st.builds(
        Observation,
        arm=st.sampled_from(["candidate", "baseline"]),
        error=st.booleans(),
        slow=st.booleans(),
        score=st.none() | st.floats(0, 1),
    ),
    max_size=80,
)


def traffic(count: int, share: int, candidate: dict[str, float], seed: int = 0) -> list[Observation]:
    """`count` requests; the baseline behaves as GOOD, and two requests of three are given feedback."""
    rng, made = random.Random(seed), []
    for _ in range(count):
        arm = "candidate" if rng.random() * 100 < share else "baseline"
        rates = GOOD | candidate if arm == "candidate" else GOOD
        score = float(rng.random() < rates["score"]) if rng.random() < 2 / 3 else None
        made.append(Observation(arm, rng.random() < rates["error"], rng.random() < rates["slow"], score))
    return made


def verdict(value: str) -> Judgement:
    return Judgement(value, "because", {})


@pytest.mark.parametrize(
    ("candidate", "share", "expected", "word"),
    [
        ({"score": 0.98}, 10, "better", "scored higher"),
        ({"score": 0.98}, 50, "better", "scored higher"),
        ({"score": 0.2}, 10, "worse", "scored lower"),
        ({"error": 0.3}, 10, "worse", "fails more often"),
        ({"slow": 0.6}, 50, "worse", "slow more often"),
        ({"score": 0.98, "error": 0.4}, 10, "worse", "fails more often"),
        ({}, 10, "not enough data", "candidate"),
    ],
)
def test_verdicts(candidate: dict[str, float], share: int, expected: str, word: str) -> None:
    judgement = judge(traffic(2500, share, candidate), share)
    assert judgement.verdict == expected
    assert word in judgement.reason
    json.dumps(judgement.evidence, allow_nan=False)


@pytest.mark.parametrize("guard", ["errors", "latency", "quality"])
def test_an_equal_candidate_is_seldom_rolled_back_by_any_guard(guard: str) -> None:
    judgements = [judge(traffic(300, 10, {}, seed), 10) for seed in range(200)]
    assert sum(each.verdict == "worse" for each in judgements) <= 10
    assert sum(each.verdict == "better" for each in judgements) <= 10
    assert all(guard in each.evidence["worse"] for each in judgements)


def test_without_feedback_nothing_is_promoted() -> None:
    silent = [Observation(arm, False, False, None) for arm in ("candidate", "baseline") * 200]
    judgement = judge(silent, 50)
    assert (judgement.verdict, judgement.reason) == (
        "not enough data",
        "No scored outcome of a concurrent baseline yet.",
    )


def test_the_minimum_holds_back_a_quick_verdict_and_tells_how_many_are_missing() -> None:
    seen = traffic(400, 10, {"score": 1.0}, seed=4)
    n = judge(seen, 10).evidence["better"]["candidate"]["n"]
    judgement = judge([each for each in seen if each.arm == "candidate" or each.score is not None], 10, minimum=n + 30)
    assert judgement.verdict == "not enough data"
    assert judgement.evidence["more"] >= 30
    assert "more scored candidate outcomes" in judgement.reason


def test_a_candidate_that_looks_no_better_gets_no_promise() -> None:
    judgement = judge(traffic(600, 10, {"score": 0.55}, seed=2), 10, alpha=1e-6)
    assert judgement.verdict == "not enough data"
    assert judgement.evidence["more"] is None
    assert "Nothing says" in judgement.reason


@given(OBSERVATIONS, st.integers(1, 100), st.integers(0, 20))
def test_any_observations_get_one_verdict_and_json_evidence(seen: list[Observation], share: int, minimum: int) -> None:
    judgement = judge(seen, share, minimum=minimum)
    json.dumps(judgement.evidence, allow_nan=False)
    scored = sum(each.arm == "candidate" and each.score is not None for each in seen)
    assert judgement.verdict != "better" or scored >= minimum


@given(OBSERVATIONS, OBSERVATIONS, st.sampled_from([1, 10, 50]))
def test_once_worse_stays_worse(first: list[Observation], later: list[Observation], share: int) -> None:
    if judge(first, share, alpha=0.3).verdict == "worse":
        assert judge(first + later, share, alpha=0.3).verdict == "worse"


@pytest.mark.parametrize(("share", "alpha"), [(0, 0.05), (101, 0.05), (10, 0.0), (10, 1.0)])
def test_impossible_settings_are_refused(share: int, alpha: float) -> None:
    with pytest.raises(Invalid) as refused:
        judge([], share, alpha)
    assert refused.value.remedy


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_out_of_range_is_refused(score: float) -> None:
    with pytest.raises(Invalid, match="outside 0 to 1"):
        Observation("candidate", False, False, score)


def test_a_rollout_climbs_its_steps_and_finishes() -> None:
    better = verdict("better")
    assert next_step(STEPS, 1, better) == Advance(10)
    assert next_step(STEPS, 10, better) == Advance(50)
    assert next_step(STEPS, 50, better) == Finish()
    assert next_step(STEPS, 100, better) == Finish()


@given(st.sampled_from(STEPS))
def test_only_better_advances_and_worse_always_rolls_back(current: int) -> None:
    assert next_step(STEPS, current, verdict("worse")) == RollBack("because")
    waiting = next_step(STEPS, current, verdict("not enough data"))
    assert waiting == (Finish() if current == 100 else Wait("because"))


@pytest.mark.parametrize(("steps", "current"), [((), 1), ((1, 10), 1), ((10, 1, 100), 1), ((0, 100), 0), ((1, 100), 5)])
def test_steps_that_do_not_climb_to_100_are_refused(steps: tuple[int, ...], current: int) -> None:
    with pytest.raises(Invalid):
        next_step(steps, current, verdict("better"))
