"""How things came about and how they go on, as typed values: lineage, a run's log, the trend of feedback."""

from datetime import datetime
from uuid import UUID

import msgspec


class Thing(msgspec.Struct, frozen=True):
    """Something that lineage knows; `kind` is inference, feedback, dataset_version, run, version, evaluation or rollout."""

    kind: str
    id: str


class Related(Thing, frozen=True):
    """A thing so many `steps` away, and the one that it hangs on, which is a step nearer."""

    steps: int
    of: Thing


class Surroundings(msgspec.Struct, frozen=True):
    """A thing, what it was made of and what became of it: at most 200 each. The counts are of direct neighbours, by kind."""

    node: Thing
    sources: list[Related]
    made: list[Related]
    source_counts: dict[str, int]
    made_counts: dict[str, int]


class Line(msgspec.Struct, frozen=True):
    """A line of a run's log; numbers begin with 1."""

    number: int
    at: datetime
    text: str


class Log(msgspec.Struct, frozen=True):
    """Lines of a run's log. `next` is the `after` of the following ones, or None where there are none yet."""

    lines: list[Line]
    next: int | None = None


class TrendPoint(msgspec.Struct, frozen=True):
    """How much feedback of a kind came in the hour or day that begins `at`, and the mean of its values if it has any."""

    at: datetime
    kind: str
    count: int
    mean: float | None = None


class VariantStats(msgspec.Struct, frozen=True):
    """What one variant did in a range of time. Latencies in milliseconds, of the requests that succeeded."""

    endpoint_id: UUID | None
    variant_id: UUID | None
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    prompt_tokens: int
    completion_tokens: int
