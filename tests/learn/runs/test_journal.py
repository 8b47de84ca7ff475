"""What a run's log says: reports in words, lines that fit, and whatever a program appends to its log."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.learn.runs.journal import LONGEST_LINE, MOST_LINES, Follower, Journal, in_words


def told(journal: Journal) -> list[str]:
    return [line.text for line in journal.lines]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            {
                "event": "started",
                "examples": 1570,
                "kept_aside": 30,
                "tokens": 123456,
                "skipped": 0,
                "steps_planned": 80,
            },
            ["The recipe has started: 1,570 examples, 30 kept aside, 123,456 tokens, 80 steps planned."],
        ),
        ({"event": "started", "step": 7}, ["The recipe has started.", "Resumed from the checkpoint of step 7."]),
        (
            {
                "event": "progress",
                "step": 20,
                "steps": 80,
                "loss": 1.23456,
                "tokens_per_second": 1312.34,
                "seconds_left": 40.0,
            },
            ["Step 20 of 80 · loss 1.235 · 1,312.3 tokens/s · 40 s left"],
        ),
        ({"event": "progress", "step": 20, "loss": "odd"}, ["Step 20 · loss odd"]),
        ({"event": "checkpoint", "step": 1000}, ["Checkpoint saved at step 1,000."]),
        ({"event": "notice", "message": "A checkpoint was damaged."}, ["A checkpoint was damaged."]),
        ({"event": "cancelled", "step": 3}, ["Stopped at step 3; its checkpoint stays."]),
        (
            {"event": "done", "steps": 80, "seconds": 200.0, "loss_first": 2.3, "loss_last": 0.412345},
            ["The recipe is done: 80 steps in 200 s, loss 2.3 → 0.4123."],
        ),
        ({"event": "done"}, ["The recipe is done."]),
        ({"event": "error", "message": "It is told at the end."}, []),
        ({"event": "weather", "sun": True}, ['{"event":"weather","sun":true}']),
        ({}, ["{}"]),
    ],
)
def test_reports_in_words(event: dict[str, Any], words: list[str]) -> None:
    assert list(in_words(event)) == words


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda each: st.lists(each))
EVENTS = st.sampled_from(["started", "progress", "checkpoint", "notice", "cancelled", "done", "error", "other"])
FIELDS = st.sampled_from(["step", "steps", "loss", "examples", "steps_planned", "seconds", "tokens_per_second"])


@given(EVENTS, st.dictionaries(FIELDS, JSON))
def test_no_report_breaks_the_log(event: str, fields: dict[str, Any]) -> None:
    journal = Journal()
    journal.hear({"event": event, **fields})
    for text in told(journal):
        assert len(text) <= LONGEST_LINE
        assert "\0" not in text
        text.encode()


def test_progress_is_told_once_for_each_percent() -> None:
    journal = Journal()
    for step in range(1, 1001):
        journal.hear({"event": "progress", "step": step, "steps": 1000, "loss": 1.0})
    assert len(journal.lines) == 101
    assert told(journal)[0].startswith("Step 1 of")
    assert told(journal)[-1].startswith("Step 1,000 of")


def test_lines_are_plain_and_not_too_long() -> None:
    journal = Journal()
    journal.say("\x1b[31mred\x1b[0m\tand  wide", "nul \0", "half \ud800", "   ", "x" * 3000)
    plain, nul, half, long = told(journal)
    assert (plain, nul, half) == ("red and wide", "nul \ufffd", "half ?")
    assert (len(long), long[-1]) == (LONGEST_LINE, "…")


def test_no_more_waits_than_a_log_may_have() -> None:
    journal = Journal()
    for _ in range(3):
        journal.say(*["again"] * MOST_LINES)
    assert len(journal.lines) == MOST_LINES + 1
    journal.forget(MOST_LINES)
    assert told(journal) == ["again"]
    assert [line.text for line in journal.ending("the end")] == ["again", "the end"]
    assert told(journal) == ["again"], "the last line is not kept"


def test_a_follower_reads_what_is_appended_from_now_on(tmp_path: Path) -> None:
    path = tmp_path / "recipe.log"
    path.write_bytes(b"before\nhalf a li")
    follower = Follower(path)
    assert follower.read() == []
    with path.open("ab", buffering=0) as file:
        file.write(b"ne\n\nnew\r\n 10%\r 20%\r 30%\n 40%\r")
        assert follower.read() == ["ne", "new", " 30%"]
        file.write(b" 50%\r 60%\r")
        assert follower.read() == []
        file.write(b"\n\xff\xfe rest")
        assert follower.read() == [" 60%"]
        file.write(b" of it")
        assert follower.read(to_end=True) == ["\ufffd\ufffd rest of it"]
        file.write(b"y" * 300_000)
        assert [len(line) for line in follower.read()] == [256 << 10], "so much at a time"
    assert Follower(tmp_path / "none").read() == []
    assert json.dumps(follower.read(to_end=True)) == json.dumps(["y" * (300_000 - (256 << 10))])
