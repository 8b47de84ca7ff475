"""The spool: an append-only log on the local disk that outlives its process, for records too hot for a database.

Owns the segment files. A record whose `append` has returned survives `kill -9` at once (it is in the kernel's page
cache) and a power cut after at most one interval of `sync_forever`. One process writes a segment, under `flock`, and
never writes to one that it did not make; readers are many. A segment that is not owned gets no more records.

A segment is the 8 bytes of `_MAGIC`, then frames: length u32, CRC-32 of the payload u32, CRC-32 of those 8 bytes u32
(all little endian), payload. The head has a checksum of its own so that a damaged length is never taken for a tail
that was cut short.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from charkha.core.errors import CharkhaError, Conflict, Invalid, StorageFull, TooLarge, Unavailable
from charkha.kit.lockfile import is_locked

MAX_RECORD_BYTES = 32 * 2**20
_MAGIC = b"CHKSPL01"
_HEAD = struct.Struct("<III")
_START = struct.Struct("<II")
_SUFFIX = ".spool"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Corrupt(CharkhaError):
    """A segment is damaged at `offset`; what stands before it has been read."""

    code = "spool_corrupt"

    def __init__(self, path: Path, offset: int) -> None:
        super().__init__(
            f"The spool segment {path} is damaged at byte {offset}.",
            remedy="Check the disk; the records around it can still be read from `next_good`.",
        )
        self.path, self.offset = path, offset


class SpoolWriter:
    """The writing end, for one event loop or thread. `instance_id` names the writer in the names of its segments."""

    def __init__(
        self, directory: Path, instance_id: str, *, segment_bytes: int = 64 * 2**20, total_bytes: int = 8 * 2**30
    ) -> None:
        """Begin a new segment in `directory`. At `total_bytes` of unshipped segments there, appends are refused."""
        if not instance_id or not instance_id.isascii() or "/" in instance_id:
            raise Invalid(f"{instance_id!r} cannot be part of a file name.", param="instance_id")
        self.directory = directory
        self._prefix = f"{instance_id}.{time.time_ns():020d}"
        self._segment_bytes, self._total_bytes = segment_bytes, total_bytes
        self._number = 0
        self._retired: deque[int] = deque()  # written full, to be synced and closed by whoever syncs next
        self._syncing = threading.Lock()
        self._dirty = self._torn = False
        self._failure: OSError | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, self._descriptor = self._begin_segment()
        self._size = len(_MAGIC)

    def append(self, record: bytes) -> None:
        """Write one record. When this returns it is safe from our death.

        Raises StorageFull (507) on a full disk: then nothing was written and the spool is as sound as before.
        """
        if not 0 < len(record) <= MAX_RECORD_BYTES:
            raise TooLarge(f"A spool record has 1 to {MAX_RECORD_BYTES} bytes, not {len(record)}.")
        if self._size >= self._segment_bytes or self._torn or self._failure:
            self._rotate()
        frame = _frame(record)
        try:
            written = os.write(self._descriptor, frame)
        except OSError as error:
            raise _explained(error, self.directory) from error
        if written != len(frame):  # a disk that fills up in mid-record raises nothing
            self._cut_back()
            raise _full(self.directory)
        self._size += written
        self._dirty = True

    def sync(self) -> None:
        """Bring everything appended so far to the disk itself. Safe to call from another thread than `append`."""
        with self._syncing:
            try:
                while self._retired:
                    os.fdatasync(self._retired[0])
                    os.close(self._retired.popleft())
                if self._dirty:
                    self._dirty = False
                    os.fdatasync(self._descriptor)
            except OSError as error:
                self._failure = error  # the kernel forgets failed pages: what follows must not seem safe
                raise _explained(error, self.directory) from error

    async def sync_forever(self, interval: float = 0.1) -> None:
        """Sync each `interval` seconds, in a thread, until cancelled. Raises when the disk fails; so does `append`."""
        while True:
            await asyncio.sleep(interval)
            if self._dirty or self._retired:
                await asyncio.to_thread(self.sync)

    def close(self) -> None:
        """Sync, and give up the segment, which lets the shipper finish and remove it."""
        self.sync()
        with self._syncing:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self._torn = True  # readers stop there; the next record goes to a new segment

    def _rotate(self) -> None:
        if self._failure:
            raise _explained(self._failure, self.directory) from self._failure
        try:
            if _total_size(self.directory) >= self._total_bytes:
                raise _full(self.directory)
            path, descriptor = self._begin_segment()
        except OSError as error:
            raise _explained(error, self.directory) from error
        self._retired.append(self._descriptor)
        self.path, self._descriptor, self._size, self._torn = path, descriptor, len(_MAGIC), False

    def _begin_segment(self) -> tuple[Path, int]:
        """The segment gets its name when it is whole and locked: no reader can take it for an abandoned one."""
        self._number += 1
        path = self.directory / f"{self._prefix}.{self._number:06d}{_SUFFIX}"
        scratch = path.with_suffix(".new")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(descriptor, _MAGIC) != len(_MAGIC):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            scratch.rename(path)
            _sync_directory(self.directory)
        except BaseException:
            os.close(descriptor)
            scratch.unlink(missing_ok=True)
            raise
        return path, descriptor


def segments(directory: Path) -> list[Path]:
    """The segments in `directory`, the oldest of each instance first."""
    return sorted(directory.glob(f"*{_SUFFIX}"))


def is_owned(path: Path) -> bool:
    """Whether a living writer still holds the segment. Ask before reading: then the read saw all there will be."""
    return is_locked(path)


def read(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """The records from `offset` on (0, or one that was yielded), each with the offset of the next.

    Ends at the end or before a tail that is cut short. Raises Corrupt at a record whose checksum is wrong.
    """
    with path.open("rb") as file:
        if offset < len(_MAGIC):
            magic = file.read(len(_MAGIC))
            if magic != _MAGIC[: len(magic)]:
                raise Corrupt(path, 0)
            offset = len(_MAGIC)
        file.seek(offset)
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length = _checked_length(head)
            if length is None:
                if _only_zeros(head, file):  # a power cut can leave length without content
                    return
                raise Corrupt(path, offset)
            payload = file.read(length)
            if len(payload) < length:
                return
            if crc32(payload) != _HEAD.unpack(head)[1]:
                raise Corrupt(path, offset)
            offset += _HEAD.size + length
            yield payload, offset


def next_good(path: Path, offset: int) -> int | None:
    """The first place after the damage at `offset` where a sound record begins; None when there is no more."""
    content = path.read_bytes()
    for place in range(offset + 1, len(content) - _HEAD.size):
        head = content[place : place + _HEAD.size]
        length = _checked_length(head)
        if length is not None:
            payload = content[place + _HEAD.size : place + _HEAD.size + length]
            if len(payload) == length and crc32(payload) == _HEAD.unpack(head)[1]:
                return place
    return None


def remove(path: Path) -> None:
    """Remove a segment that has been shipped whole. Raises Conflict while a writer owns it."""
    if is_owned(path):
        raise Conflict(f"The spool segment {path} is still being written.", remedy="Remove it when its writer is done.")
    path.unlink(missing_ok=True)


def _frame(record: bytes) -> bytes:
    length, check = len(record), crc32(record)
    return _HEAD.pack(length, check, crc32(_START.pack(length, check))) + record


def _checked_length(head: bytes) -> int | None:
    length, _, check = _HEAD.unpack(head)
    return length if check == crc32(head[:8]) and 0 < length <= MAX_RECORD_BYTES else None


def _only_zeros(head: bytes, rest: BinaryIO) -> bool:
    return not any(head) and not any(any(block) for block in iter(lambda: rest.read(2**16), b""))


def _total_size(directory: Path) -> int:
    total = 0
    for path in segments(directory):
        with contextlib.suppress(FileNotFoundError):  # the shipper has just removed it
            total += path.stat().st_size
    return total


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _full(directory: Path) -> StorageFull:
    return StorageFull(f"There is no room left for the spool in {directory}.", remedy="Free space on that disk.")


def _explained(error: OSError, directory: Path) -> CharkhaError:
    if error.errno in _FULL:
        return _full(directory)
    return Unavailable(
        f"The spool in {directory} cannot be written: {error.strerror}.", remedy="Check the disk, then restart."
    )
