"""The folder of backups, `backups/` in the home: what lies there, whether one is being made, what was found wrong.

Owns that folder's state. It is all on disk, so that every process tells the same and a restart loses none of it: the
kernel's lock `run/backup.lock` is held while a backup is made, `run/backup.name` says which, and a note beside each
tells the rest (`backup_notes`). Backups are never deleted here.
"""

import contextlib
import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from charkha.app.backup import PARTIAL, Progress, backup, explained, verify
from charkha.app.backup_notes import Note, Notes
from charkha.app.installation import Installation
from charkha.core.errors import CharkhaError, Conflict, Invalid, NotFound
from charkha.kit.lockfile import LockFile, is_locked
from charkha.kit.postgres.cluster import make_home

FOLDER = "backups"
_FILE = re.compile(r"\.?([A-Za-z0-9][\w.+-]*\.zip)(?:\.part|\.json)?", re.ASCII)
_TELL_SECONDS = 0.2
_LOCK_SECONDS = 0.2  # whoever only looks whether the lock is held has it for a moment


class Backup(msgspec.Struct, frozen=True):
    """A backup, and `file`, where it lies. `made_at` is when it was begun.

    `bytes` grow while it is running, and `current_file` is what is read then. `error` says why it failed or what is
    damaged in it, `remedy` what to do. `verified` is None until somebody has asked since it was last changed.
    """

    name: str
    file: str
    bytes: int
    made_at: datetime
    status: Literal["running", "done", "failed"]
    current_file: str | None = None
    error: str | None = None
    remedy: str | None = None
    verified: bool | None = None


@dataclass
class Reservation:
    """The right to make a backup, and the name that it gets. Given up at the end of a `with` block."""

    name: str
    lock: LockFile

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lock.release()


class BackupFolder:
    """The backups of one home. Every method reads or writes the disk: call them from a thread, not the event loop."""

    def __init__(self, home: Path) -> None:
        self._home, self.directory = home, home / FOLDER
        self._notes = Notes(self.directory)

    def listed(self) -> list[Backup]:
        """Every backup, newest first; the failed ones too, until their notes are removed."""
        names = self._names()
        running = self._running()  # asked after the names and before the files: one that ends meanwhile is seen whole
        found = [each for name in names if (each := self._look(name, running)) is not None]
        return sorted(found, key=lambda each: (each.made_at, each.name), reverse=True)

    def find(self, name: str) -> Backup:
        """The backup of that name, from the list: a name is never made into a path. Raises NotFound."""
        for each in self.listed():
            if each.name == name:
                return each
        raise NotFound(f"There is no backup {name[:100]!r}.", remedy="List them: charkha backups list.")

    def reserve(self) -> Reservation:
        """Become the only maker of a backup of this home. Raises Conflict while there is another."""
        lock = LockFile(self._home / "run" / "backup.lock")
        try:
            make_home(self._home)
            if not lock.acquire(wait=_LOCK_SECONDS):
                raise Conflict(
                    "A backup is being made already.", remedy="Wait until it is done: charkha backups list shows it."
                )
            name = self._free_name()
            self._current.write_text(name)
        except OSError as error:
            lock.release()
            raise explained(error, self.directory) from error
        return Reservation(name, lock)

    def begin(self, name: str) -> Backup:
        """Say that a reserved backup has begun."""
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self._notes.write(name, Note(datetime.now(UTC)))
        except OSError as error:
            raise explained(error, self.directory / name) from error
        return self.find(name)

    def make(self, installation: Installation, name: str, progress: Progress) -> dict[str, Any]:
        """Make a backup that was reserved and has begun; returns its manifest. What fails is noted, and raised."""
        note = self._notes.read(name) or Note(datetime.now(UTC))
        try:
            for leftover in self.directory.glob(f"*{PARTIAL}"):  # of makers that were killed: we are the only one
                leftover.unlink()
            manifest = backup(installation, self.directory / name, self._teller(name, note, progress))
            note.done = True
        except CharkhaError as error:
            note.error, note.remedy = error.message, error.remedy
            raise
        except BaseException as error:
            note.error, note.remedy = f"It was stopped ({type(error).__name__}).", "Make another one."
            raise
        finally:
            note.current_file = None
            self._notes.write_if_possible(name, note)
        return manifest

    def whole(self, name: str) -> tuple[Path, tuple[int, int]]:
        """The file of a backup that is done, with its size and time (ns). Raises NotFound, or Conflict if it is not."""
        made = self.find(name)
        if made.status != "done":
            raise Conflict(f"The backup {made.name} is {made.status}.", remedy="Verify one that is done.")
        found = Path(made.file).stat()
        return Path(made.file), (found.st_size, found.st_mtime_ns)

    def check(self, name: str, progress: Progress) -> Backup:
        """Check every file of a backup against its checksum, here and now; what is found is noted."""
        path, checked = self.whole(name)
        try:
            verify(path, progress)
        except Invalid as error:
            return self.record_check(path.name, checked, error.message, error.remedy)
        return self.record_check(path.name, checked, None, None)

    def record_check(self, name: str, checked: tuple[int, int], error: str | None, remedy: str | None) -> Backup:
        """Note what verifying a file of that size and time (ns) found: `error`, or nothing."""
        note = self._notes.read(name) or Note(self.find(name).made_at, done=True)
        note.checked, note.verified, note.error, note.remedy = checked, error is None, error, remedy
        self._notes.write_if_possible(name, note)
        return self.find(name)

    @property
    def _current(self) -> Path:
        return self._home / "run" / "backup.name"

    def _names(self) -> set[str]:
        try:
            with os.scandir(self.directory) as entries:
                files = [entry.name for entry in entries if entry.is_file()]
        except FileNotFoundError:
            return set()
        return {match[1] for match in map(_FILE.fullmatch, files) if match}

    def _running(self) -> str | None:
        if not is_locked(self._home / "run" / "backup.lock"):
            return None
        return self._current.read_text() if self._current.exists() else None

    def _free_name(self) -> str:
        stem, taken = f"charkha-{datetime.now(UTC):%Y%m%dT%H%M%SZ}", self._names()
        names = (f"{stem}{'' if number == 1 else f'-{number}'}.zip" for number in range(1, len(taken) + 2))
        return next(name for name in names if name not in taken)

    def _look(self, name: str, running: str | None) -> Backup | None:
        """One backup; None where only the note is left of one that was made and then taken away."""
        note, file = self._notes.read(name), self.directory / name
        whole, partial = _stat(file), _stat(file.with_name(name + PARTIAL))
        found = whole or partial
        made_at = note.made_at if note else _time(found) if found else datetime.now(UTC)
        told = Backup(name, str(file), found.st_size if found else 0, made_at, "done")
        if name == running:  # until its maker has ended, whole or not: then the next may begin
            return replace(told, status="running", current_file=note.current_file if note else None)
        if whole is not None:
            return _as_checked(told, note, whole)
        if note.done if note else partial is None:
            return None
        return replace(
            told,
            status="failed",
            error=(note and note.error) or "It was interrupted before it was whole.",
            remedy=(note and note.remedy) or f"Make another one; {self._home}/log/backup.log may say more.",
        )

    def _teller(self, name: str, note: Note, progress: Progress) -> Progress:
        """Progress, noted at most a few times a second."""
        last = -_TELL_SECONDS

        def tell(current: str) -> None:
            nonlocal last
            progress(current)
            note.current_file, now = current, time.monotonic()
            if now - last >= _TELL_SECONDS:
                last = now
                self._notes.write(name, note)

        return tell


def _as_checked(told: Backup, note: Note | None, found: os.stat_result) -> Backup:
    """A backup with what verifying it found, unless it was changed since."""
    if note is None or note.checked != (found.st_size, found.st_mtime_ns):
        return told
    return replace(told, verified=note.verified, error=note.error, remedy=note.remedy)


def _stat(path: Path) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat()
    return None


def _time(found: os.stat_result) -> datetime:
    return datetime.fromtimestamp(found.st_mtime, UTC)
