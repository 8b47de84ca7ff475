"""The shipper: brings what gateways have spooled into the inference log, exactly once, whatever dies in between.

Boundary: the only reader of the spool directory, and the only one that removes segments. One ships a directory at a
time, under a lock that the kernel frees. Rows and offsets commit together; whatever fails, the next pass begins again
at the stored offsets.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from pathlib import Path

import psycopg

from charkha.core.clock import now
from charkha.core.errors import CharkhaError, Unavailable
from charkha.kit import spool
from charkha.kit.crashpoints import crashpoint
from charkha.kit.db import Database
from charkha.kit.lockfile import LockFile
from charkha.kit.process import Backoff
from charkha.kit.telemetry import logger
from charkha.observe import ingest
from charkha.observe.metrics import SHIPPED
from charkha.observe.partitions import ensure_partitions, months
from charkha.observe.rows import Rows, month, rows
from charkha.observe.stream import Finished, Segment, Stream

POLL_SECONDS = 0.2
EMPTY_SECONDS = 3_600  # a living gateway's directory is never empty; one that is just starting is not yet so old
BATCH_RECORDS, BATCH_BYTES = 4_000, 16 * 2**20
_BACKOFF = Backoff(first=POLL_SECONDS, most=5.0)
log = logger(__name__)


class Shipper:
    """Ships the segments below `directory`, which has one sub-directory for each gateway."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database, self._directory = database, directory
        self._lock = LockFile(directory / "shipper.lock")
        self._streams: dict[str, Stream] = {}
        self._stored: dict[str, int] = {}
        self._months: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Ship for ever, until cancelled. While the database or the disk does not answer, wait and try again."""
        failures = 0
        try:
            while True:
                try:
                    await self.ship_once()
                    failures = 0
                except (CharkhaError, OSError) as error:
                    failures += 1
                    log.warning("shipper.waiting", failures=failures, why=str(error))
                await asyncio.sleep(_BACKOFF.draw(failures) if failures else POLL_SECONDS)
        finally:
            self.close()

    async def ship_once(self) -> int:
        """Ship everything that is finished now; how many inferences are new in the log.

        0 while another process ships this directory. Raises Unavailable, StorageFull or OSError with nothing lost.
        """
        if not await asyncio.to_thread(self._acquired):
            return 0
        try:
            await self._look()
            return sum([await self._ship(key) for key in list(self._streams)])
        except BaseException as error:
            self._streams.clear()  # what is in memory may be ahead of what was committed
            self._stored.clear()
            if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
                raise Unavailable("The database does not answer.", remedy="Try again; nothing was lost.") from error
            raise

    def close(self) -> None:
        """Let another process ship this directory."""
        self._streams.clear()
        self._stored.clear()
        self._lock.release()

    def _acquired(self) -> bool:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._lock.descriptor >= 0 or self._lock.acquire()

    async def _look(self) -> None:
        """Find the writers and their segments, and where to go on in each."""
        found, owned, dead = await asyncio.to_thread(_survey, self._directory)
        keys = {path: f"{path.parent.name}/{path.name}" for paths in found.values() for path in paths}
        fresh = [path for path in keys if not self._knows(path)]
        if fresh:
            async with self._database.begin("charkha_ingest") as conn:
                self._stored |= await ingest.offsets(conn, [keys[path] for path in fresh])
        for writer, paths in found.items():
            stream = self._streams.setdefault(writer, Stream())
            for path in paths:
                if path.name not in stream.segments:
                    stream.begin(path, self._stored.get(keys[path], 0))
            stream.saw(owned, dead=writer in dead)

    def _knows(self, path: Path) -> bool:
        stream = self._streams.get(_writer(path))
        return stream is not None and path.name in stream.segments

    async def _ship(self, writer: str) -> int:
        """Ship one writer's stream to its end, a batch in a transaction."""
        stream, written, ended = self._streams[writer], 0, False
        while not ended:
            now_ms = int(now().timestamp() * 1000)
            finished, ended = await asyncio.to_thread(stream.take, BATCH_RECORDS, BATCH_BYTES, now_ms)
            written += await self._commit(writer.partition("/")[0], stream, finished)
        if not stream.segments:
            del self._streams[writer]
        return written

    async def _commit(self, instance: str, stream: Stream, finished: list[Finished]) -> int:
        """Write a batch with the offsets that it brings us to; then remove what is done with."""
        batch = await self._placed(stream, finished)
        done = stream.done()
        gone = [f"{instance}/{segment.path.name}" for segment in done]
        offsets = {f"{instance}/{name}": position for name, position in stream.offsets().items()}
        moved = {key: at for key, at in offsets.items() if key not in gone and self._stored.get(key, 0) != at}
        written = 0
        if batch or moved or gone:
            async with self._database.begin("charkha_ingest") as conn:
                written = await ingest.write(conn, batch)
                await ingest.save_offsets(conn, moved, gone)
                if stream.has_told_all() and not _has_damage(self._directory / instance):
                    await ingest.bury(conn, instance)
                crashpoint("shipper.before_commit")
            crashpoint("shipper.after_commit")
            SHIPPED.inc(written)
            self._stored |= moved
        await asyncio.to_thread(_retire, done)
        stream.forget(done)
        for key in gone:
            self._stored.pop(key, None)
        return written

    async def _placed(self, stream: Stream, finished: list[Finished]) -> list[Rows]:
        """The rows that have a month in the log. One that cannot have any is set aside, with its whole segment."""
        if any(month(each.opened.id) not in self._months for each in finished):
            await ensure_partitions(self._database)
            async with self._database.begin("charkha_ingest") as conn:
                self._months = await months(conn)
        placed = []
        for each in finished:
            try:
                if month(each.opened.id) in self._months:
                    placed.append(rows(each))
                    continue
            except OverflowError as error:
                log.error("shipper.refused", inference=str(each.opened.id), why=str(error))
            stream.refuse(each)
        return placed


def _writer(path: Path) -> str:
    """Who wrote a segment: `instance/prefix` of `instance/prefix.number.spool`."""
    return f"{path.parent.name}/{path.name.rsplit('.', 2)[0]}"


def _survey(directory: Path) -> tuple[dict[str, list[Path]], dict[str, bool], set[str]]:
    """The segments of each writer, which of them are owned, and which writers are gone.

    A writer owns its new segment before it lets go of the old one: it is gone if none of its segments was owned and
    none has come since we asked.
    """
    before = _segments(directory)
    owned = {path.name: spool.is_owned(path) for paths in before.values() for path in paths}
    after = _segments(directory)
    dead = {
        writer
        for writer, paths in before.items()
        if paths == after.get(writer) and not any(owned[path.name] for path in paths)
    }
    return before, owned, dead


def _segments(directory: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for instance in sorted(directory.iterdir()):
        if instance.is_dir():
            paths = spool.segments(instance)
            for path in paths:
                found[_writer(path)].append(path)
            if not paths and instance.stat().st_mtime < time.time() - EMPTY_SECONDS:
                with contextlib.suppress(OSError):  # it holds a quarantined segment: somebody should look at it
                    instance.rmdir()
    return dict(found)


def _has_damage(directory: Path) -> bool:
    """Whether some of what a writer did can no longer be read: then all that it leased counts as spent."""
    return any(directory.glob("*.corrupt"))


def _retire(done: list[Segment]) -> None:
    """Remove segments that were shipped whole; keep the damaged ones under another name."""
    for segment in done:
        if segment.damaged_at is None:
            spool.remove(segment.path)
        else:
            kept = segment.path.rename(segment.path.with_suffix(".spool.corrupt"))
            log.error("spool.quarantined", segment=str(kept), remedy="Everything readable in it has been shipped.")
