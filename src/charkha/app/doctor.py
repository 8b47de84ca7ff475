"""The doctor: looks at an installation from outside and says what is wrong and what to do, one finding a line."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import psycopg

from charkha.app.installation import Installation
from charkha.app.supervisor_state import read_state
from charkha.core.errors import CharkhaError
from charkha.kit.db import Database
from charkha.kit.postgres import launcher, selftest
from charkha.kit.spool import segments

Mark = Literal["ok", "warning", "wrong"]
_FREE_WARNING, _FREE_WRONG = 5 * 2**30, 512 * 2**20
_SPOOL_WARNING = 256 * 2**20


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    mark: Mark
    told: str
    remedy: str = ""


def examine(installation: Installation) -> Iterator[Finding]:
    """Look at everything; a look that fails is a finding too."""
    looks: tuple[Callable[[Installation], Finding], ...] = (
        _home,
        _disk,
        _extras,
        _parts,
        _database,
        _jobs,
        _spool,
    )
    for look in looks:
        try:
            yield look(installation)
        except CharkhaError as error:
            yield Finding(look.__name__.strip("_"), "wrong", error.message, error.remedy)


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
    import asyncio

    async def look() -> None:
        database = Database(installation.database_url, pool_size=1)
        try:
            await selftest.verify(database)
        finally:
            await database.close()

    asyncio.run(look())
    return Finding("database", "ok", "answers, and no workspace can read another's rows")


def _jobs(installation: Installation) -> Finding:
    if installation.settings.embedded_database and not launcher.answers(installation.home):
        return Finding("jobs", "warning", "Not looked at: the database does not run.")
    with psycopg.connect(installation.database_url, options="-c role=charkha_system") as connection:
        rows = connection.execute(
            "SELECT task_name, count(*) FROM procrastinate_jobs WHERE status = 'failed' GROUP BY 1 ORDER BY 2 DESC LIMIT 3"
        ).fetchall()
    if rows:
        failed = ", ".join(f"{name} ({count})" for name, count in rows)
        return Finding("jobs", "warning", f"Gave up for good: {failed}.", f"See {installation.home}/log/worker.log.")
    return Finding("jobs", "ok", "none has failed")


def _spool(installation: Installation) -> Finding:
    waiting = sum(path.stat().st_size for path in segments(installation.spool)) if installation.spool.exists() else 0
    if waiting > _SPOOL_WARNING:
        return Finding("spool", "warning", f"{waiting / 2**20:.0f} MiB wait to be shipped.", "Does the shipper run?")
    return Finding("spool", "ok", f"{waiting / 2**20:.1f} MiB on this machine")
