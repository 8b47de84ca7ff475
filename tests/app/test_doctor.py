"""The doctor: what it finds on a real installation, and that many who ask at once cost one examination."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from charkha.app import doctor, settings
from charkha.app.doctor import Doctor, Finding, examine, without_paths
from charkha.app.installation import Installation
from charkha.kit.spool import SpoolWriter
from tests.conftest import Urls

pytestmark = pytest.mark.anyio


@pytest.fixture
def installation(urls: Urls, tmp_path: Path) -> Installation:
    """A home that nothing runs in, on a real database."""
    (tmp_path / "home").mkdir()
    return Installation(settings.load(home=tmp_path / "home", database_url=urls.database, migration_url=urls.migration))


class Look:
    """A look of the doctor that counts how often it is taken, and takes `seconds`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.taken = seconds, 0

    def __call__(self, _: Installation) -> Finding:
        """Take it."""
        self.taken += 1
        time.sleep(self.seconds)
        return Finding("look", "ok", "looked")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Look]], None]:
    """Replaces what the doctor looks at."""
    return lambda chosen: monkeypatch.setattr(doctor, "LOOKS", chosen)


def _by_name(installation: Installation) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(installation)}


def test_a_sound_installation(installation: Installation) -> None:
    found = _by_name(installation)
    assert list(found) == ["home", "disk", "packages", "processes", "database", "jobs", "spool"]
    assert {what: found[what].mark for what in ("home", "database", "jobs", "spool")} == dict.fromkeys(
        ("home", "database", "jobs", "spool"), "ok"
    )
    assert (found["processes"].mark, found["processes"].remedy) == ("warning", "Start it: charkha up")


def test_a_database_that_is_away_is_a_finding_of_both_who_ask_it(installation: Installation) -> None:
    away = installation.settings.model_copy(update={"database_url": "postgresql://charkha:hunter2@127.0.0.1:1/none"})
    found = _by_name(Installation(away))
    assert (found["database"].mark, found["jobs"].mark, found["spool"].mark) == ("wrong", "wrong", "ok")
    assert found["jobs"].remedy
    assert "hunter2" not in str(found)


def test_jobs_that_gave_up_are_told_by_name(installation: Installation) -> None:
    with psycopg.connect(installation.settings.migration_url or "") as connection:
        connection.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('work', 'train', 'failed')"
        )
    found = _by_name(installation)["jobs"]
    assert (found.mark, found.told) == ("warning", "Gave up for good: train (1).")


def test_what_every_writer_has_spooled_is_counted(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SPOOL_WARNING", 2**20)
    for name in ("a", "b"):
        writer = SpoolWriter(installation.spool / name, name)
        writer.append(b"x" * 2**20)
        writer.close()
    found = _by_name(installation)["spool"]
    assert (found.mark, found.told) == ("warning", "2 MiB wait to be shipped.")


def test_paths_are_hidden_and_nothing_else() -> None:
    home = Path("/srv/our things/home")
    installation = Installation(settings.Settings.model_construct(home=home))
    told = f"{home}/log and (/var/lib/x) or and/or host=/tmp/s, 7 parts at http://127.0.0.1:8420/a."
    finding = Finding("x", "wrong", told, f"See {home}/log/worker.log.")
    assert without_paths(finding, installation) == replace(
        finding,
        told="$CHARKHA_HOME/log and (…) or and/or host=…, 7 parts at http://127.0.0.1:8420/a.",
        remedy="See $CHARKHA_HOME/log/worker.log.",
    )


async def test_many_callers_cost_one_examination(
    installation: Installation, looks: Callable[[dict[str, Look]], None]
) -> None:
    look = Look(0.1)
    looks({"look": look})
    asked = Doctor(installation, keep=0.3)
    answers = await asyncio.gather(*(asked.findings() for _ in range(20)))
    assert look.taken == 1
    assert all(answer == [Finding("look", "ok", "looked")] for answer in answers)
    await asked.findings()
    assert look.taken == 1, "it is told again for a while"
    await asyncio.sleep(0.35)
    await asked.findings()
    assert look.taken == 2


async def test_a_look_that_hangs_is_a_finding_and_is_not_taken_twice(
    installation: Installation, looks: Callable[[dict[str, Look]], None]
) -> None:
    quick, slow, never = Look(), Look(0.6), Look()
    looks({"quick": quick, "slow": slow, "never": never})
    asked = Doctor(installation, seconds=0.2)
    first, second = await asked.findings(), await asked.findings()
    assert first == second
    assert [(finding.what, finding.mark) for finding in first] == [("look", "ok"), ("slow", "wrong")]
    assert "0.2 s" in first[1].told
    assert first[1].remedy
    assert slow.taken == 1
    await asyncio.sleep(0.5)
    assert len(await asked.findings()) == 3, "once it has come through, all is told"


async def test_an_event_loop_goes_on_while_the_database_is_looked_at(installation: Installation) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    findings = await Doctor(installation).findings()
    ticking.cancel()
    assert {finding.what: finding.mark for finding in findings}["database"] == "ok"
    assert ticks > 5
