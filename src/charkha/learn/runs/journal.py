"""What a run's log says, for people: its recipe's reports in words, its standard error, and what its worker did.

Lines wait here until the next beat stores them, so that every process can read them. The log is bounded, line by line
and as a whole: what does not fit stands in `recipe.log` on the machine of the worker.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from charkha.core.clock import now

MOST_LINES, LONGEST_LINE = 5_000, 2_000
FULL = "This log is full. The rest is in recipe.log, in the run's directory on the machine of its worker."
_READ_BYTES = 256 << 10
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FACTS = {"examples": "examples", "kept_aside": "kept aside", "tokens": "tokens", "skipped": "skipped"}


class Said(msgspec.Struct, frozen=True):
    """A line that is not stored yet."""

    at: datetime
    text: str


class Journal:
    """The lines of one attempt that are not stored yet, in order."""

    def __init__(self) -> None:
        self.lines: list[Said] = []
        self._percent = -1

    def say(self, *texts: str) -> None:
        """Add lines. While the database is away no more are kept than a log may have."""
        told = [text for text in map(_plain, texts) if text]
        self.lines += [Said(now(), text) for text in told[: MOST_LINES + 1 - len(self.lines)]]

    def hear(self, event: Mapping[str, Any]) -> None:
        """Add what a recipe reports; of its progress, one line for each percent."""
        if event.get("event") == "progress" and not self._further(event.get("step"), event.get("steps")):
            return
        self.say(*in_words(event))

    def ending(self, text: str) -> list[Said]:
        """All lines, and a last one, which is not kept: what it says is true only once it is stored."""
        return [*self.lines, Said(now(), _plain(text))]

    def forget(self, count: int) -> None:
        """Take the first lines away: they are stored."""
        del self.lines[:count]

    def _further(self, step: Any, steps: Any) -> bool:
        if not isinstance(step, int) or not isinstance(steps, int) or steps < 1:
            return True
        before, self._percent = self._percent, 100 * step // steps
        return self._percent != before


class Follower:
    """Reads what a program appends to its log from now on."""

    def __init__(self, path: Path) -> None:
        self._path, self._rest = path, b""
        self._at = path.stat().st_size if path.exists() else 0

    def read(self, *, to_end: bool = False) -> list[str]:
        """The whole lines that have come, of at most 256 KiB at a time; `to_end`: and the last one that has no end.

        Of a line that was written over, as progress bars are, only what a terminal would show at its end.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                new = file.read(_READ_BYTES)
        except FileNotFoundError:
            return []
        self._at += len(new)
        *whole, rest = (self._rest + new).split(b"\n")
        self._rest = b"\r".join(rest.split(b"\r")[-2:])  # what a progress bar has written over is gone
        if to_end or len(self._rest) > LONGEST_LINE:
            whole, self._rest = [*whole, self._rest], b""
        lines = (line.rstrip(b"\r").rpartition(b"\r")[2] for line in whole)
        return [line.decode(errors="replace") for line in lines if line.strip()]


def in_words(event: Mapping[str, Any]) -> Iterable[str]:
    """One of a recipe's reports as lines; none for an error, which is told when the run ends by it."""
    match event.get("event"):
        case "started":
            return _started(event)
        case "progress":
            return [" · ".join(_progress(event))]
        case "checkpoint":
            return [f"Checkpoint saved at step {_number(event.get('step'))}."]
        case "notice":
            return [str(event.get("message"))]
        case "cancelled":
            return [f"Stopped at step {_number(event.get('step'))}; its checkpoint stays."]
        case "done":
            return [_done(event)]
        case "error":
            return []
        case _:
            return [msgspec.json.encode(event).decode()]


def _started(event: Mapping[str, Any]) -> list[str]:
    facts = [f"{_number(event[name])} {told}" for name, told in _FACTS.items() if event.get(name)]
    facts += [f"{_number(event['steps_planned'])} steps planned"] if event.get("steps_planned") else []
    lines = [f"The recipe has started: {', '.join(facts)}." if facts else "The recipe has started."]
    if event.get("step"):
        lines.append(f"Resumed from the checkpoint of step {_number(event['step'])}.")
    return lines


def _progress(event: Mapping[str, Any]) -> Iterable[str]:
    of = f" of {_number(event['steps'])}" if event.get("steps") else ""
    yield f"Step {_number(event.get('step'))}{of}"
    yield f"loss {_number(event.get('loss'))}"
    if event.get("tokens_per_second"):
        yield f"{_number(event['tokens_per_second'])} tokens/s"
    if event.get("seconds_left"):
        yield f"{_number(event['seconds_left'])} s left"


def _done(event: Mapping[str, Any]) -> str:
    said = "The recipe is done"
    if event.get("steps"):
        said += f": {_number(event['steps'])} steps"
    if event.get("seconds"):
        said += f" in {_number(event['seconds'])} s"
    if event.get("loss_first") and event.get("loss_last"):
        said += f", loss {_number(event['loss_first'])} → {_number(event['loss_last'])}"
    return f"{said}."


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}".removesuffix(".0") if abs(value) >= 100 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plain(text: str) -> str:
    """One line that PostgreSQL can hold, without a terminal's colours, and not too long."""
    line = " ".join(_COLOURS.sub("", text).split()).replace("\0", "\N{REPLACEMENT CHARACTER}")
    line = line.encode(errors="replace").decode()
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"
