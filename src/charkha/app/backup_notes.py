"""The notes beside backups, `.NAME.json`: how far one is, why it failed, whether it was verified.

Owns those files. A reader sees an old note or a new one, never a part of it.
"""

import os
from datetime import datetime
from pathlib import Path

import msgspec

from charkha.kit import telemetry

log = telemetry.logger(__name__)


class Note(msgspec.Struct):
    """What is known of a backup beside its file. `checked` is the size and time (ns) of the file that was verified."""

    made_at: datetime
    done: bool = False
    current_file: str | None = None
    error: str | None = None
    remedy: str | None = None
    checked: tuple[int, int] | None = None
    verified: bool | None = None


class Notes:
    """The notes of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, name: str) -> Note | None:
        """The note of a backup; None where there is none, or a power cut has left it empty."""
        try:
            return msgspec.json.decode(self._path(name).read_bytes(), type=Note)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            log.warning("backup.note_damaged", name=name, reason=str(error))
            return None

    def write(self, name: str, note: Note) -> None:
        """Replace a note. Raises OSError, and then leaves the old one."""
        path = self._path(name)
        scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(note))
            scratch.rename(path)
        except OSError:
            scratch.unlink(missing_ok=True)
            raise

    def write_if_possible(self, name: str, note: Note) -> None:
        """The same, where the note matters less than what it is about: on a full disk it is logged instead."""
        try:
            self.write(name, note)
        except OSError as error:
            log.warning("backup.note_lost", name=name, reason=str(error), error=note.error)

    def _path(self, name: str) -> Path:
        return self._directory / f".{name}.json"
