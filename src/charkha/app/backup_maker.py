"""Making and verifying backups in child processes, so that neither takes time from a gateway that serves.

Boundary: between a gateway process and the two programs, `python -m charkha.app.backup_maker NAME` and
`charkha.app.backup_check FILE`. The maker inherits the lock on the folder and is asked to stop when its gateway ends.
"""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import msgspec

from charkha.app import settings
from charkha.app.backup import explained
from charkha.app.backup_folder import Backup, BackupFolder, Reservation
from charkha.app.installation import Installation
from charkha.core.errors import CharkhaError, Unavailable
from charkha.kit import process, programs, telemetry

_NICE = 10
_CHECK = "charkha.app.backup_check"

log = telemetry.logger(__name__)


class Started(msgspec.Struct, frozen=True):
    """A backup that has begun: `id` is its name in the list, `file` where it will lie."""

    id: str
    status: str
    file: str


class BackupMaker:
    """The backups of an installation, as a gateway process makes, lists and verifies them."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._folder = BackupFolder(installation.home)
        self._log = installation.home / "log" / "backup.log"
        self._checking = asyncio.Lock()

    async def listed(self) -> list[Backup]:
        """Every backup, newest first."""
        return await asyncio.to_thread(self._folder.listed)

    async def reserve(self) -> Reservation:
        """The right to make the next backup, for a `with` block. Raises Conflict, or Misconfigured without an owner."""

        def reserve() -> Reservation:
            _ = self._installation.migration_url  # which raises what the maker would fail of
            return self._folder.reserve()

        return await asyncio.to_thread(reserve)

    async def start(self, reservation: Reservation) -> Started:
        """Start the maker of a reserved backup. It holds the lock from here on, and outlives the request."""
        begun = await asyncio.to_thread(self._folder.begin, reservation.name)
        try:
            # From the event loop's own thread, which stays: the kernel ends the child with the thread that started it.
            child = process.spawn(
                [sys.executable, "-m", __name__, reservation.name],
                env=_environment(self._installation),
                log=self._log,
                nice=_NICE,
                pass_fds=[reservation.lock.descriptor],
                death_signal=signal.SIGTERM,
            )
        except OSError as error:
            raise explained(error, Path(begun.file)) from error
        threading.Thread(target=child.wait, name="backup", daemon=True).start()  # or a zombie stays
        return Started(begun.name, "running", begun.file)

    async def verify(self, name: str) -> Backup:
        """Check every file of a backup against its checksum; the answer says what was found, and is kept.

        Raises NotFound, Conflict for a backup that is not whole, Unavailable when the check itself was ended.
        """
        async with self._checking:
            path, checked = await asyncio.to_thread(self._folder.whole, name)
            async with programs.running(_CHECK, path, log=self._log, nice=_NICE) as program:
                found = [event async for event in program.events() if event.get("event") == "checked"]
                status = await program.ended()
            if not found:
                raise Unavailable(
                    f"The check of {path.name} ended early ({process.explain(status)}).", remedy=f"See {self._log}."
                )
            error, remedy = found[0]["error"], found[0]["remedy"]
            return await asyncio.to_thread(self._folder.record_check, path.name, checked, error, remedy)


def _environment(installation: Installation) -> dict[str, str]:
    """What the maker needs to see the installation that we see, wherever our settings came from."""
    configured = installation.settings
    chosen = {"home": str(installation.home)}
    chosen |= {key: url for key in ("database_url", "migration_url") if (url := getattr(configured, key))}
    return {settings.environment_name(key): value for key, value in chosen.items()}


def _stop(number: int, frame: FrameType | None) -> None:
    raise Unavailable("The gateway that made it has ended.", remedy="Make another one.")


def main() -> int:
    """Make the backup that is named; the lock came with us and is let go when we end."""
    signal.signal(signal.SIGTERM, _stop)
    os.umask(0o077)
    configured = settings.load()
    telemetry.configure(configured.log_level, json_lines=configured.log_json, part="backup")
    installation, name = Installation(configured), sys.argv[1]
    try:
        manifest = BackupFolder(installation.home).make(installation, name, lambda _: None)
    except CharkhaError as error:
        log.error("backup.failed", name=name, reason=str(error))
        return error.exit_code
    log.info("backup.made", name=name, files=len(manifest["sha256"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
