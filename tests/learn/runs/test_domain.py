"""What follows from how a recipe ended, and from what it said."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.learn.runs.domain import MOST_CRASHES, Cancelled, Crashes, Done, Failed, Heard, outcome


@given(st.lists(st.integers(0, 50), max_size=30))
def test_only_crashes_without_progress_are_hopeless(steps: list[int]) -> None:
    crashes, best, stuck = Crashes(), -1, 0
    for step in steps:
        stuck = 1 if step > best else stuck + 1
        best = max(best, step)
        crashes = crashes.after(best)
        assert (crashes.count, crashes.furthest, crashes.hopeless) == (stuck, best, stuck >= MOST_CRASHES)


@pytest.mark.parametrize(
    ("end", "status", "cancel", "expected"),
    [
        (Done(), 0, False, "succeeded"),
        (Done(), 0, True, "succeeded"),
        (Done(), -9, False, "crashed"),
        (Failed("bad"), 1, True, "failed"),
        (Cancelled(), 75, True, "cancelled"),
        (Cancelled(), 75, False, "crashed"),
        (None, -9, False, "crashed"),
        (None, -9, True, "cancelled"),
        (None, 0, False, "crashed"),
    ],
)
def test_the_outcome(end: Done | Cancelled | Failed | None, status: int, cancel: bool, expected: str) -> None:
    assert outcome(end, status, cancel) == expected


def test_what_is_heard() -> None:
    heard = Heard()
    heard.take({"event": "started", "steps_planned": 10, "step": 4, "examples": 7})
    heard.take({"event": "progress", "step": 5, "steps": 9, "loss": 1, "seconds_left": 3.5, "learning_rate": 0.1})
    heard.take({"event": "started", "step": 4})
    assert (heard.step, heard.furthest, heard.steps, heard.seconds_left, len(heard.points)) == (4, 5, None, 3.5, 1)
    with pytest.raises(msgspec.ValidationError):
        heard.take({"event": "notice", "message": "hm"})
    heard.take({"event": "done", "loss": 1})
    assert heard.end == Done()
