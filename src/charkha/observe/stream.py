"""One writer's spool, read as one stream across its segments: opens are paired with their closes, damage is set aside.

Boundary: between the spool's bytes and finished inferences. What it can promise after a crash is `offsets()`: a
segment's offset never passes an open whose close has not been shipped, nor damage that nobody has looked at. What is
behind an offset and was shipped already is read again after a restart, and skipped by its primary key.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from charkha.core.records import Closed, Opened, decode
from charkha.kit.spool import Corrupt, next_good, read
from charkha.kit.telemetry import logger
from charkha.observe.metrics import DAMAGED, LOST

ABANDONED_MS = 3_600_000  # no request lasts an hour: an open of that age has lost its close, and must not hold the rest
log = logger(__name__)


class Finished(NamedTuple):
    """One inference as the spool tells it. Without `closed`, `lost` says why there is none."""

    opened: Opened
    closed: Closed | None
    lost: str | None
    segment: str
    start: int


@dataclass
class Segment:
    """How far one segment has been read. `damaged_at` is the first damage; `searched` the size in which we looked on."""

    path: Path
    position: int = 0
    owned: bool = True
    whole: bool = False
    damaged_at: int | None = None
    searched: int = -1


@dataclass
class Stream:
    """The segments of one writer, the oldest first. `dead`: the writer is gone, so nothing more will come."""

    segments: dict[str, Segment] = field(default_factory=dict)
    dead: bool = False
    _unfinished: dict[UUID, Finished] = field(default_factory=dict)

    def begin(self, path: Path, offset: int) -> None:
        """Take up a segment; everything in it before `offset` is known to be shipped."""
        self.segments[path.name] = Segment(path, offset)

    def saw(self, owned: Mapping[str, bool], *, dead: bool) -> None:
        """Note who still writes, as it was *before* the reading that follows."""
        self.dead = dead
        for name, segment in self.segments.items():
            segment.owned = owned.get(name, False)

    def take(self, limit: int, limit_bytes: int, now_ms: int) -> tuple[list[Finished], bool]:
        """Read on, up to about `limit` records and `limit_bytes`: what is finished, and whether the end was reached."""
        finished: list[Finished] = []
        for segment in self.segments.values():
            for payload, start in self._records(segment):
                found = self._paired(segment, payload, start)
                if found:
                    finished.append(found)
                limit, limit_bytes = limit - 1, limit_bytes - len(payload)
                if limit <= 0 or limit_bytes <= 0:
                    return finished, False
            segment.whole = not segment.owned
        return finished + self._lost(now_ms), True

    def refuse(self, inference: Finished) -> None:
        """Set an inference aside that the log cannot take: its segment is kept."""
        segment = self.segments.get(inference.segment)
        if segment:
            self._damaged(segment, inference.start, "The inference log cannot take this record.")

    def offsets(self) -> dict[str, int]:
        """How far each segment is done with: up to its oldest unfinished open, its damage or its reader."""
        offsets = {
            name: segment.position if segment.damaged_at is None else min(segment.damaged_at, segment.position)
            for name, segment in self.segments.items()
        }
        for waiting in self._unfinished.values():
            if waiting.segment in offsets:
                offsets[waiting.segment] = min(offsets[waiting.segment], waiting.start)
        return offsets

    def done(self) -> list[Segment]:
        """The segments that hold nothing more of use. The oldest go first: a close is never older than its open."""
        waiting = {each.segment for each in self._unfinished.values()}
        done = []
        for name, segment in self.segments.items():
            if not segment.whole or name in waiting:
                break
            done.append(segment)
        return done

    def has_told_all(self) -> bool:
        """Whether the writer is gone and everything that it wrote has been read, none of it damaged."""
        return (
            self.dead
            and all(segment.whole and segment.damaged_at is None for segment in self.segments.values())
            and not self._unfinished
        )

    def forget(self, segments: Sequence[Segment]) -> None:
        """Drop segments that are off the disk."""
        for segment in segments:
            del self.segments[segment.path.name]

    def _records(self, segment: Segment) -> Iterator[tuple[bytes, int]]:
        """Every sound record from where the last reading ended, each with its offset."""
        while True:
            try:
                for payload, end in read(segment.path, segment.position):
                    start, segment.position = segment.position, end
                    yield payload, start
            except Corrupt as damage:
                size = segment.path.stat().st_size
                if size == segment.searched:
                    return
                self._damaged(segment, damage.offset, damage.message)
                resumed = next_good(segment.path, damage.offset)
                if resumed is None:  # more may be written behind it
                    segment.searched = size
                    return
                segment.position = resumed
            else:
                return

    def _paired(self, segment: Segment, payload: bytes, start: int) -> Finished | None:
        """The inference that a record finishes. A close without an open was shipped already, or its open is damaged."""
        try:
            record = decode(payload)
        except msgspec.MsgspecError as error:
            self._damaged(segment, start, str(error))
            return None
        if isinstance(record, Opened):
            self._unfinished[record.id] = Finished(record, None, None, segment.path.name, start)
            return None
        waiting = self._unfinished.pop(record.id, None)
        return waiting._replace(closed=record) if waiting else None

    def _lost(self, now_ms: int) -> list[Finished]:
        """Opens that will never be closed, now that everything has been read."""
        reason = "process_died" if self.dead else "abandoned"
        lost = [
            waiting._replace(lost=reason)
            for waiting in self._unfinished.values()
            if self.dead or waiting.opened.at_ms < now_ms - ABANDONED_MS
        ]
        for each in lost:
            log.warning("spool.inference_lost", inference=str(each.opened.id), reason=reason, segment=each.segment)
            del self._unfinished[each.opened.id]
            LOST.inc()
        return lost

    def _damaged(self, segment: Segment, offset: int, why: str) -> None:
        log.error("spool.damaged", segment=str(segment.path), offset=offset, why=why)
        DAMAGED.inc()
        if segment.damaged_at is None:
            segment.damaged_at = offset
