"""The turn as it is read off the API: in every state of things one stage is now, or all are done, and it never goes back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.console.turn import NAMES, Known, turn

COUNT = st.integers(0, 10**6)
RUN = st.fixed_dictionaries(
    {
        "id": st.just("r"),
        "status": st.sampled_from(["queued", "running", "succeeded", "failed", "cancelled"]),
        "step": COUNT,
        "steps": st.one_of(st.none(), COUNT),
        "error": st.one_of(st.none(), st.text(max_size=20)),
    }
)
RATE = st.one_of(st.none(), st.fixed_dictionaries({"value": st.floats(0, 1)}))
CARD = st.fixed_dictionaries(
    {"candidate": RATE, "incumbent": RATE, "metric": st.just("label_accuracy"), "summary": st.just("better")}
)
EVALUATION = st.fixed_dictionaries(
    {
        "id": st.just("e"),
        "status": st.sampled_from(["queued", "running", "succeeded", "failed"]),
        "done": COUNT,
        "total": st.one_of(st.none(), COUNT),
        "scorecard": st.one_of(st.none(), CARD),
        "error": st.one_of(st.none(), st.just("away")),
    }
)
ROLLOUT = st.fixed_dictionaries(
    {
        "id": st.just("l"),
        "status": st.sampled_from(
            ["preparing", "running", "promoted", "superseded", "rolled_back", "failed", "cancelled", "declined"]
        ),
        "candidate": st.just("support@1"),
        "share": st.integers(0, 100),
        "steps": st.lists(st.integers(1, 100), min_size=1, max_size=5),
        "reason": st.one_of(st.none(), st.just("why")),
    }
)
POLICY = st.fixed_dictionaries(
    {"enabled": st.booleans(), "minimum_examples": st.integers(1, 1000), "lessons_waiting": st.one_of(st.none(), COUNT)}
)
KNOWN = st.builds(
    Known,
    policy=st.none() | POLICY,
    run=st.none() | RUN,
    version=st.none() | st.just({"id": "v"}),
    evaluation=st.none() | EVALUATION,
    rollout=st.none() | ROLLOUT,
    requests=COUNT,
)


@given(KNOWN)
def test_whatever_is_known_makes_one_turn(known: Known) -> None:
    found = turn(known)
    states = [stage.state for stage in found.stages]
    assert [stage.name for stage in found.stages] == list(NAMES)
    assert 0 <= found.fraction <= 1
    here = [state for state in states if state in ("now", "failed")]
    assert here == [] if states == ["done"] * 5 else len(here) == 1
    order = ["done", "now", "failed", "next"]
    assert [order.index(state) for state in states] == sorted(order.index(state) for state in states)
    assert found.now
    assert found.next
    assert all(stage.text and stage.path.startswith("/") for stage in found.stages)


@given(KNOWN)
def test_a_turn_is_whole_only_when_its_release_has_ended_well(known: Known) -> None:
    ended = known.rollout is not None and known.rollout["status"] in ("promoted", "superseded")
    assert (turn(known).fraction == 1 and turn(known).stages[4].state == "done") == ended


def _run(**changes: Any) -> dict[str, Any]:
    return {"id": "r", "status": "running", "step": 10, "steps": 40, "error": None, **changes}


@pytest.mark.parametrize(
    ("known", "stage", "says"),
    [
        (Known(None, None, None, None, None), "Serve", "Waiting for the first request."),
        (Known(None, None, None, None, None, 9), "Observe", "No training policy is set"),
        (
            Known({"enabled": True, "minimum_examples": 20, "lessons_waiting": 5}, None, None, None, None, 9),
            "Observe",
            "5 of 20 lessons",
        ),
        (Known(None, _run(), None, None, None, 9), "Learn", "Training an adapter."),
        (Known(None, _run(status="queued"), None, None, None, 9), "Learn", "Waiting to train"),
        (Known(None, _run(status="failed", error="no memory"), None, None, None, 9), "Learn", "no memory"),
        (Known(None, _run(status="succeeded"), None, None, None, 9), "Evaluate", "registered"),
        (Known(None, _run(status="succeeded"), {"id": "v"}, None, None, 9), "Evaluate", "waits for its evaluation"),
    ],
)
def test_each_stage_says_what_happens(known: Known, stage: str, says: str) -> None:
    found = turn(known)
    here = next(each for each in found.stages if each.state in ("now", "failed"))
    assert here.name == stage
    assert says in found.now


def test_a_turn_goes_forward_while_its_run_does() -> None:
    fractions = [turn(Known(None, _run(step=step), None, None, None, 9)).fraction for step in (0, 10, 40, 60)]
    assert fractions == sorted(fractions)
    assert fractions[0] == 2 / 5
    assert fractions[-1] == 3 / 5
