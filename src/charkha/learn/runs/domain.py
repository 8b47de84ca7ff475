"""What a run is, what a recipe reports, and what follows from how it ended. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from charkha.core.messages import Example

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ACTIVE: tuple[Status, ...] = ("queued", "running")
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")

MOST_CRASHES = 3
"""So many crashes in a row without getting further than before, and the run has failed."""


class Run(msgspec.Struct, frozen=True):
    """One training run. `seconds_left` is the recipe's estimate; `result` holds addresses of blobs and the record.

    `loss` is of the newest point of its curve, None before there is one.
    """

    id: UUID
    endpoint_id: UUID | None
    recipe: str
    config: dict[str, Any]
    dataset_version_id: UUID
    base_model: str
    seed: int
    status: Status
    attempt: int
    step: int
    steps: int | None
    seconds_left: float | None
    error: str | None
    cancel_requested: bool
    result: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    loss: float | None = None


class Point(msgspec.Struct, frozen=True):
    """A point of a run's curve."""

    step: int
    loss: float
    learning_rate: float | None = None
    tokens_per_second: float | None = None


class Line(msgspec.Struct, frozen=True):
    """A line of a run's log; numbers begin with 1."""

    number: int
    at: datetime
    text: str


class Log(msgspec.Struct, frozen=True):
    """Lines of a run's log, in order. `next` is the `after` of the following ones, or None where there are none yet."""

    lines: list[Line]
    next: int | None


class Started(msgspec.Struct, frozen=True, tag="started", tag_field="event"):
    """The recipe has read its examples; `step` is more than 0 where it resumes."""

    steps_planned: int | None = None
    step: int = 0


class Progress(msgspec.Struct, frozen=True, tag="progress", tag_field="event"):
    """Where the recipe is."""

    step: int
    loss: float
    steps: int | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None


class Done(msgspec.Struct, frozen=True, tag="done", tag_field="event"):
    """The artefacts are written."""


class Cancelled(msgspec.Struct, frozen=True, tag="cancelled", tag_field="event"):
    """It was told to stop and left a checkpoint."""


class Failed(msgspec.Struct, frozen=True, tag="error", tag_field="event"):
    """It cannot go on; trying again without a change cannot help."""

    message: str
    remedy: str = ""


Report = Started | Progress | Done | Cancelled | Failed
End = Done | Cancelled | Failed


@dataclass
class Heard:
    """What a recipe's processes have reported so far; `points` are those not stored yet, `end` is the last one's word."""

    step: int = 0
    furthest: int = 0
    steps: int | None = None
    seconds_left: float | None = None
    points: list[Point] = field(default_factory=list)
    end: End | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event. Raises msgspec.ValidationError for one that is none of ours."""
        report = msgspec.convert(event, Report)
        if isinstance(report, Started):
            self.step, self.steps = report.step, report.steps_planned
        elif isinstance(report, Progress):
            self.step, self.steps, self.seconds_left = report.step, report.steps or self.steps, report.seconds_left
            self.points.append(Point(report.step, report.loss, report.learning_rate, report.tokens_per_second))
        else:
            self.end = report
        self.furthest = max(self.furthest, self.step)


Outcome = Literal["succeeded", "failed", "cancelled", "crashed"]


def outcome(end: End | None, exit_status: int, cancel_requested: bool) -> Outcome:
    """What became of a process: by its last word, and by its exit status where it had none.

    A process that was stopped by somebody else's signal has crashed as far as the run is concerned: it goes on.
    """
    if isinstance(end, Failed):
        return "failed"
    if isinstance(end, Done) and exit_status == 0:
        return "succeeded"
    return "cancelled" if cancel_requested else "crashed"


@dataclass(frozen=True)
class Crashes:
    """Crashes in a row, and the furthest step that any process had got to."""

    count: int = 0
    furthest: int = -1

    def after(self, furthest: int) -> "Crashes":
        """The tally after another crash: having got further than ever before begins it anew."""
        return Crashes(1, furthest) if furthest > self.furthest else Crashes(self.count + 1, self.furthest)

    @property
    def hopeless(self) -> bool:
        """Whether another try is in vain."""
        return self.count >= MOST_CRASHES


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a succeeded run left, as the registry takes it over. Blobs are addresses in `kit.blobs`."""

    run_id: UUID
    endpoint_id: UUID | None
    endpoint_name: str
    dataset_version_id: UUID
    engine: str
    base_model: str
    base_hash: str
    gguf_blob: str
    gguf_sha256: str
    safetensors_blob: str
    config_blob: str
    record: dict[str, Any]
    metrics: dict[str, Any]
    system_prompt: str | None = None


def problem(examples: Sequence[Example]) -> str | None:
    """Why nothing can be learned from examples, with the remedy; None where something can."""
    if not examples:
        return (
            "There is nothing to learn from: every lesson is of a held-out text, of contradictory labels or without "
            "content. Give feedback on other requests, and let the endpoint keep content."
        )
    labels = {example.label for example in examples}
    if len(labels) == 1 and None not in labels:
        return (
            f"All {len(examples)} lessons have the label '{labels.pop()}': there is nothing to tell apart. "
            "Give feedback on requests of other classes."
        )
    return None
