"""The doctor: looks at an installation from outside and says what is wrong and what to do, one finding a line."""

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import psycopg

from charkha.app.installation import Installation
from charkha.app.supervisor_state import read_state
from charkha.core.errors import CharkhaError, Unavailable
from charkha.kit.db import Database
from charkha.kit.postgres import launcher, selftest
from charkha.kit.spool import segments

Mark = Literal["ok", "warning", "wrong"]
_FREE_WARNING, _FREE_WRONG = 5 * 2**30, 512 * 2**20
_SPOOL_WARNING = 256 * 2**20
_LOOK_SECONDS = 8.0
_PATH = re.compile(r"""(?<![\w:/.])/[^\s,;:'"()]+""")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    mark: Mark
    told: str
    remedy: str = ""


def examine(installation: Installation) -> Iterator[Finding]:
    """Look at everything; a look that fails is a finding too. It takes seconds: not for the event loop."""
    for what in LOOKS:
        yield _looked(what, installation)


class Doctor:
    """The same for an event loop: in a thread, one examination at a time, shared by all who ask meanwhile."""

    def __init__(self, installation: Installation, *, seconds: float = 10.0, keep: float = 2.0) -> None:
        """`seconds` is the longest that a caller waits; findings are told again for `keep` seconds."""
        self._installation, self._seconds, self._keep = installation, seconds, keep
        self._found: list[Finding] = []
        self._examining: asyncio.Task[list[Finding]] | None = None
        self._ended_at = -keep

    async def findings(self) -> list[Finding]:
        """Everything that was found; what hangs for longer than `seconds` is a finding, and the looks after it are not."""
        if self._examining is None or (self._examining.done() and time.monotonic() - self._ended_at >= self._keep):
            self._found = []
            self._examining = asyncio.create_task(self._examine())
        task, found = self._examining, self._found
        await asyncio.wait({task}, timeout=self._seconds)
        if task.done():
            return task.result()
        hanging = list(LOOKS)[min(len(found), len(LOOKS) - 1)]
        return [*found, _hanging(hanging, self._seconds)]

    async def _examine(self) -> list[Finding]:
        found = self._found
        try:
            # It grows one by one: who stops waiting has what there is by then.
            await asyncio.to_thread(lambda: found.extend(examine(self._installation)))
            return found
        finally:
            self._ended_at = time.monotonic()


def without_paths(finding: Finding, installation: Installation) -> Finding:
    """A finding for somebody whom the places on this machine do not concern."""

    def hidden(text: str) -> str:
        return _PATH.sub("…", text.replace(str(installation.home), "$CHARKHA_HOME"))

    return replace(finding, told=hidden(finding.told), remedy=hidden(finding.remedy))


def _looked(what: str, installation: Installation) -> Finding:
    try:
        return LOOKS[what](installation)
    except CharkhaError as error:
        return Finding(what, "wrong", error.message, error.remedy)
    except (OSError, psycopg.Error) as error:
        kind = type(error).__name__
        return Finding(what, "wrong", f"Could not be looked at ({kind}).", f"See {installation.home}/log.")


def _hanging(what: str, seconds: float) -> Finding:
    told = f"Did not answer in {seconds:g} s; nothing after it was looked at."
    return Finding(what, "wrong", told, "Ask again; if it stays so, restart Charkha.")


def _home(installation: Installation) -> Finding:
    home = installation.home
    if not home.exists():
        return Finding("home", "warning", f"{home} is not made yet.", "It is made by `charkha up`.")
    if not os.access(home, os.W_OK):
        return Finding("home", "wrong", f"{home} cannot be written.", "Run as its owner, or set CHARKHA_HOME.")
    return Finding("home", "ok", str(home))


def _disk(installation: Installation) -> Finding:
    place = next(path for path in (installation.home, *installation.home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    mark: Mark = "wrong" if free < _FREE_WRONG else "warning" if free < _FREE_WARNING else "ok"
    return Finding("disk", mark, f"{free / 2**30:.1f} GiB free", "" if mark == "ok" else "Free space on that disk.")


def _extras(_: Installation) -> Finding:
    needed = {"xllamacpp": "engine", "gguf": "engine", "torch": "train", "transformers": "train"}
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return Finding("packages", "warning", f"Not installed: {', '.join(missing)}.", "Run `make install`.")
    return Finding("packages", "ok", "engine and training are installed")


def _parts(installation: Installation) -> Finding:
    state = read_state(installation.home)
    if state is None:
        return Finding("processes", "warning", "Nothing runs here.", "Start it: charkha up")
    ill = [
        f"{part.name} ({part.state}, {part.last_exit})" for part in state.parts if part.state not in ("ready", "done")
    ]
    if ill:
        return Finding("processes", "wrong", f"Not up: {', '.join(ill)}.", f"See {installation.home}/log.")
    return Finding("processes", "ok", f"{len(state.parts)} parts are up at {state.url}")


def _database(installation: Installation) -> Finding:
    if installation.settings.embedded_database and not launcher.answers(installation.home):
        return Finding("database", "warning", "The embedded PostgreSQL does not run.", "It starts with `charkha up`.")

    async def look() -> None:
        database = Database(installation.database_url, pool_size=1)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await selftest.verify(database)
        except TimeoutError:
            raise Unavailable("The database is slow to answer.", remedy="Look at its load and its log.") from None
        finally:
            await database.close()

    asyncio.run(look())
    return Finding("database", "ok", "answers, and no workspace can read another's rows")


def _jobs(installation: Installation) -> Finding:
    if installation.settings.embedded_database and not launcher.answers(installation.home):
        return Finding("jobs", "warning", "Not looked at: the database does not run.")
    options = f"-c role=charkha_system -c statement_timeout={1000 * _LOOK_SECONDS:.0f}"
    with psycopg.connect(installation.database_url, options=options, connect_timeout=5) as connection:
        rows = connection.execute(
            "SELECT task_name, count(*) FROM procrastinate_jobs WHERE status = 'failed' GROUP BY 1 ORDER BY 2 DESC LIMIT 3"
        ).fetchall()
    if rows:
        failed = ", ".join(f"{name} ({count})" for name, count in rows)
        return Finding("jobs", "warning", f"Gave up for good: {failed}.", f"See {installation.home}/log/worker.log.")
    return Finding("jobs", "ok", "none has failed")


def _spool(installation: Installation) -> Finding:
    waiting = 0
    for writer in installation.spool.iterdir() if installation.spool.exists() else ():
        for path in segments(writer):
            with contextlib.suppress(FileNotFoundError):  # shipped a moment ago
                waiting += path.stat().st_size
    if waiting > _SPOOL_WARNING:
        return Finding("spool", "warning", f"{waiting / 2**20:.0f} MiB wait to be shipped.", "Does the shipper run?")
    return Finding("spool", "ok", f"{waiting / 2**20:.1f} MiB on this machine")


LOOKS: dict[str, Callable[[Installation], Finding]] = {
    "home": _home,
    "disk": _disk,
    "packages": _extras,
    "processes": _parts,
    "database": _database,
    "jobs": _jobs,
    "spool": _spool,
}
