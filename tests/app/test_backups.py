"""The folder of backups on a real database: one at a time, told by its files alone, whatever ends its maker."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from charkha.app import settings
from charkha.app.backup_folder import Backup, BackupFolder
from charkha.app.backup_maker import BackupMaker
from charkha.app.cli.operating import backup as backup_command
from charkha.app.cli.operating import backups as backups_command
from charkha.app.installation import Installation
from charkha.core.errors import CharkhaError, Conflict, NotFound, StorageFull
from tests.conftest import Urls
from tests.e2e.processes import descendants

pytestmark = pytest.mark.anyio
BLOB = b"a blob " * 40_000


@pytest.fixture
def installation(urls: Urls, tmp_path: Path) -> Installation:
    """A home with its secrets and a blob, on a real database."""
    made = Installation(settings.load(home=tmp_path / "home", database_url=urls.database, migration_url=urls.migration))
    assert made.secrets
    (made.home / "blobs").mkdir()
    (made.home / "blobs" / "one").write_bytes(BLOB)
    return made


@pytest.fixture
def folder(installation: Installation) -> BackupFolder:
    return BackupFolder(installation.home)


def _make(folder: BackupFolder, installation: Installation, progress: Callable[[str], None] = lambda _: None) -> Backup:
    with folder.reserve() as reservation:
        folder.begin(reservation.name)
        folder.make(installation, reservation.name, progress)
    return folder.find(reservation.name)


@contextmanager
def _dump_hangs(urls: Urls) -> Iterator[None]:
    """The dump of the database waits while the block lasts: a table that it wants is locked."""
    with psycopg.connect(urls.migration) as connection:
        connection.execute("LOCK TABLE suites IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def _being_made(installation: Installation, urls: Urls) -> AsyncIterator[tuple[BackupMaker, int]]:
    """A maker in a process of its own that has come as far as the database, and its pid."""
    maker = BackupMaker(installation)
    with _dump_hangs(urls):
        with await maker.reserve() as reservation:
            started = await maker.start(reservation)
        assert started.status == "running"
        while not (dumping := _children("pg_dump")):
            await asyncio.sleep(0.02)
        (pid,) = _children("charkha.app.backup_maker")
        assert (await maker.listed())[0].name == started.id
        password = str(conninfo_to_dict(urls.migration)["password"])
        assert password not in _command(dumping[0]), "everybody may read a command line"
        yield maker, pid
    await _ended(maker)


def _children(mark: str) -> list[int]:
    return [pid for pid in descendants(os.getpid()) if mark in _command(pid)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def _ended(maker: BackupMaker) -> Backup:
    """The newest backup, once it is not being made any more."""
    while (newest := (await maker.listed())[0]).status == "running":
        await asyncio.sleep(0.02)
    return newest


@contextmanager
def _full_disk(size: int) -> Iterator[None]:
    """No file of this process grows over `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_backup_is_made_and_verified(folder: BackupFolder, installation: Installation) -> None:
    made = _make(folder, installation)
    assert (made.status, made.verified, made.error) == ("done", None, None)
    assert made.bytes == Path(made.file).stat().st_size > len(BLOB)
    assert Path(made.file).stat().st_mode & 0o077 == 0, "a backup opens everything"
    assert folder.check(made.name, lambda _: None).verified is True
    assert BackupFolder(installation.home).find(made.name).verified is True, "another process sees the same"


def test_damage_is_found_and_a_changed_file_is_not_verified_any_more(
    folder: BackupFolder, installation: Installation
) -> None:
    made = _make(folder, installation)
    folder.check(made.name, lambda _: None)
    content = bytearray(Path(made.file).read_bytes())
    content[content.index(BLOB) + 100] ^= 1
    Path(made.file).write_bytes(content)
    assert folder.find(made.name).verified is None
    checked = folder.check(made.name, lambda _: None)
    assert (checked.status, checked.verified) == ("done", False)
    assert "blobs/one" in (checked.error or "")
    assert checked.remedy


def test_progress_is_told_and_a_second_one_waits(folder: BackupFolder, installation: Installation) -> None:
    seen = []

    def look(current: str) -> None:
        with pytest.raises(Conflict) as caught:
            folder.reserve()
        assert caught.value.remedy
        seen.append((current, BackupFolder(installation.home).listed()[0]))

    made = _make(folder, installation, look)
    assert {"database", "blobs/one", "secrets/master.key"} <= {current for current, _ in seen}
    assert {told.status for _, told in seen} == {"running"}
    assert seen[-1][1].current_file is not None
    assert seen[-1][1].bytes > 0
    assert (made.status, made.current_file) == ("done", None)


def test_the_list_is_newest_first_and_holds_what_was_put_there(
    folder: BackupFolder, installation: Installation
) -> None:
    made = [_make(folder, installation) for _ in range(2)]
    assert made[0].name != made[1].name, "two in one second"
    foreign = folder.directory / "monday.zip"
    foreign.write_bytes(Path(made[0].file).read_bytes())
    os.utime(foreign, (0, 0))
    (folder.directory / "directory.zip").mkdir()
    for odd in ("no backup.txt", "ö\udce4.zip", "-.zip"):
        (folder.directory / odd).write_bytes(b"")
    assert [each.name for each in folder.listed()] == [made[1].name, made[0].name, "monday.zip"]
    assert folder.check("monday.zip", lambda _: None).verified is True
    Path(made[1].file).unlink()
    assert [each.name for each in folder.listed()] == [made[0].name, "monday.zip"], "what was taken away is gone"


@pytest.mark.parametrize("name", ["none.zip", "../secrets/master.key", "", ".", "/etc/passwd", "a\0b", "x" * 5000])
def test_a_name_is_looked_up_and_never_a_path(folder: BackupFolder, installation: Installation, name: str) -> None:
    _make(folder, installation)
    with pytest.raises(NotFound):
        folder.check(name, lambda _: None)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(folder: BackupFolder, installation: Installation) -> None:
    with _full_disk(len(BLOB) // 2), pytest.raises(StorageFull) as caught:
        _make(folder, installation)
    assert "Free space" in caught.value.remedy
    (failed,) = folder.listed()
    assert (failed.status, failed.bytes, failed.error) == ("failed", 0, caught.value.message)
    assert not list(folder.directory.glob("*.part")) + list(folder.directory.glob("*.zip"))
    assert _make(folder, installation).status == "done", "with room it goes"


def test_a_disk_with_no_room_at_all_locks_nobody_out(folder: BackupFolder, installation: Installation) -> None:
    with _full_disk(0), pytest.raises(StorageFull):
        _make(folder, installation)
    assert _make(folder, installation).status == "done"


def test_a_database_that_is_away_is_told(folder: BackupFolder, installation: Installation) -> None:
    away = installation.settings.model_copy(
        update={"migration_url": "postgresql://charkha_owner:hunter2@127.0.0.1:1/x"}
    )
    with pytest.raises(CharkhaError, match="pg_dump"):
        _make(folder, Installation(away))
    (failed,) = folder.listed()
    assert failed.status == "failed"
    assert "pg_dump" in (failed.error or "")
    assert "hunter2" not in str(failed)
    assert not list(folder.directory.glob("*.part"))


async def test_a_maker_of_its_own_outlives_who_asked(installation: Installation, urls: Urls) -> None:
    async with _being_made(installation, urls) as (maker, _):
        with pytest.raises(Conflict):
            await BackupMaker(installation).reserve()
        (told,) = await BackupMaker(installation).listed()
        assert (told.status, told.current_file) == ("running", "database")
        with pytest.raises(Conflict, match="running"):
            await maker.verify(told.name)
    made = await _ended(maker)
    assert (made.status, made.error) == ("done", None)
    verified = await maker.verify(made.name)
    assert (verified.verified, verified.error) == (True, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_maker_that_is_ended_is_told_and_blocks_nobody(
    installation: Installation, urls: Urls, number: signal.Signals
) -> None:
    async with _being_made(installation, urls) as (maker, pid):
        os.kill(pid, number)
        failed = await _ended(maker)
        while _children("pg_dump"):  # it ends with its maker, though its table is still locked
            await asyncio.sleep(0.02)
    assert failed.status == "failed"
    words = {signal.SIGKILL: "interrupted", signal.SIGTERM: "has ended"}
    assert words[number] in (failed.error or "")
    assert failed.remedy
    left = list((installation.home / "backups").glob("*.part"))
    assert len(left) == (1 if number == signal.SIGKILL else 0)
    with await maker.reserve() as reservation:
        await maker.start(reservation)
    assert (await _ended(maker)).status == "done"
    assert [each.status for each in await maker.listed()] == ["done", "failed"], "what failed stays told"
    assert not list((installation.home / "backups").glob("*.part")), "its leftover is cleared away"


async def test_a_check_in_a_process_of_its_own_finds_damage(installation: Installation, folder: BackupFolder) -> None:
    made = await asyncio.to_thread(_make, folder, installation)
    Path(made.file).write_bytes(Path(made.file).read_bytes()[:-30])
    checked = await BackupMaker(installation).verify(made.name)
    assert checked.verified is False
    assert "damaged" in (checked.error or "")


def test_the_command_line_makes_lists_and_verifies(
    installation: Installation, folder: BackupFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARKHA_HOME", str(installation.home))
    monkeypatch.setenv("CHARKHA_DATABASE_URL", installation.database_url)
    monkeypatch.setenv("CHARKHA_MIGRATION_URL", installation.migration_url)
    run = CliRunner().invoke
    assert "Make one: charkha backup" in run(backups_command, ["list"]).output
    elsewhere = run(backup_command, [str(tmp_path / "x.backup")])
    assert elsewhere.exit_code == 0, elsewhere.output
    assert (tmp_path / "x.backup").exists()
    assert folder.listed() == []
    assert run(backup_command, ["--json"]).exit_code == 0
    (made,) = folder.listed()
    assert made.name in run(backups_command, ["list"]).output
    assert '"verified": true' in run(backups_command, ["verify", made.name, "--json"]).output
    with folder.reserve():
        assert isinstance(run(backup_command, [str(tmp_path / "y.backup")]).exception, Conflict)
