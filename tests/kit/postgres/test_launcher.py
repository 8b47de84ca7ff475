"""The embedded PostgreSQL: first start, second start, every way to die, and who may run it."""

import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from charkha.core.errors import Conflict, Misconfigured, Unavailable
from charkha.kit.lockfile import is_locked
from charkha.kit.postgres import binaries, cluster, launcher, roles
from tests.fixtures_postgres import short_directory

AS_ROOT = os.geteuid() == 0
NOBODY = 65534
STARTER = (
    "import sys, time, pathlib; from charkha.kit.postgres import launcher;"
    "running = launcher.start(pathlib.Path(sys.argv[1]), fast=True);"
    "print(running.process.pid, flush=True); time.sleep(600)"
)


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "home"


@contextmanager
def running(home: Path) -> Iterator[launcher.Running]:
    server = launcher.start(home, fast=True)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def starter(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that starts the server, prints its pid and waits."""
    child = subprocess.Popen([sys.executable, "-c", STARTER, str(home)], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()
        wait_until(lambda: not is_locked(home / "run" / "postgres.lock"))  # its server shuts down by itself


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def ask(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_what_is_committed_is_there_after_a_restart(home: Path) -> None:
    with running(home) as server, psycopg.connect(server.migration_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with running(home) as server:
        assert ask(server.migration_url, "SELECT answer FROM kept") == 42
        assert launcher.answers(home)
        assert launcher.urls(home) == server.urls
    assert not launcher.answers(home)


def test_the_roles_are_no_more_than_they_should_be(postgres_server: launcher.Running) -> None:
    url = postgres_server.database_url
    assert ask(url, "SELECT current_user") == "charkha"
    assert ask(f"{url}&options=-c%20role%3Dcharkha_app", "SELECT current_user") == "charkha_app"
    powers = (
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'charkha%' AND (rolsuper OR rolbypassrls OR rolcreaterole)"
    )
    assert ask(url, powers) == 0
    # Once migrated, it does not even see the schema.
    refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName)
    with psycopg.connect(url) as connection, pytest.raises(refused):
        connection.execute("CREATE TABLE mine (a int)")
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SET ROLE charkha_owner")


def test_ensuring_the_roles_twice_changes_nothing(postgres_server: launcher.Running) -> None:
    passwords = cluster.read_passwords(postgres_server.paths)
    with psycopg.connect(postgres_server.urls.admin, autocommit=True) as admin:
        roles.ensure_roles(admin, passwords.owner, passwords.login)
    assert ask(postgres_server.database_url, "SELECT 1") == 1


def test_the_script_for_ones_own_postgresql_works_in_psql(home: Path) -> None:
    script = roles.roles_sql("owner's \\ password", "login-password", database="elsewhere")
    with running(home) as server:
        psql = [server.paths.binaries / "psql", "-v", "ON_ERROR_STOP=1", "-q", server.urls.admin]
        subprocess.run(psql, input=script, text=True, check=True, capture_output=True)
        url = server.paths.url("charkha", "login-password", "elsewhere")
        assert ask(f"{url}&options=-c%20role%3Dcharkha_ingest", "SELECT current_user") == "charkha_ingest"
        assert ask(server.paths.url("charkha_owner", "owner's \\ password", "elsewhere"), "SELECT 1") == 1


def test_nobody_gets_in_without_the_password(postgres_server: launcher.Running) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres_server.paths.url("postgres", "guess", "postgres"))
    assert postgres_server.paths.secrets.stat().st_mode & 0o077 == 0
    assert postgres_server.paths.data.stat().st_mode & 0o077 == 0
    assert ask(postgres_server.urls.admin, "SHOW listen_addresses") == ""


def test_a_second_start_on_one_directory_names_the_process_that_holds_it(home: Path) -> None:
    with starter(home) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(Conflict, match=f"process {child.pid}") as caught:
            launcher.start(home)
        assert "charkha down" in caught.value.remedy


def test_killing_the_starter_ends_the_server_and_loses_nothing(home: Path) -> None:
    with starter(home) as child:
        assert child.stdout is not None
        server_pid = int(child.stdout.readline())
        with psycopg.connect(launcher.urls(home).migration) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        child.kill()
        with running(home) as server:
            assert ended(server_pid)
            assert ask(server.migration_url, "SELECT answer FROM kept") == 42


def test_it_runs_as_a_process_of_its_own(home: Path) -> None:
    command = [sys.executable, "-m", "charkha.kit.postgres", "--fast", str(home)]
    with subprocess.Popen(command) as child:
        wait_until(lambda: launcher.answers(home))
        second = subprocess.run(command, capture_output=True, text=True)
        assert (second.returncode, second.stdout) == (Conflict.exit_code, "")
        assert f"process {child.pid}" in second.stderr
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    assert not launcher.answers(home)


def test_a_start_killed_while_the_cluster_is_made_leaves_nothing_half_made(home: Path) -> None:
    with starter(home) as child:
        wait_until(lambda: any(home.glob(".postgres-*/data/base")))
        child.kill()
        child.wait()
    with running(home) as server:
        assert ask(server.database_url, "SELECT 1") == 1
    assert not list(home.glob(".postgres-*"))


def test_a_killed_server_is_started_again(home: Path) -> None:
    server = launcher.start(home, fast=True)
    os.kill(server.process.pid, signal.SIGKILL)
    wait_until(lambda: not server.alive())
    server.stop()
    with running(home) as again:
        assert ask(again.database_url, "SELECT 1") == 1


def test_a_leftover_pid_file_is_never_believed(home: Path) -> None:
    paths = launcher.ensure(home, fast=True)
    for content in ("", "12", "not a number\n", f"{os.getpid()}\n/elsewhere\n", "1\n"):
        (paths.data / "postmaster.pid").write_text(content)
        with running(home) as server:
            assert ask(server.database_url, "SELECT 1") == 1


def test_a_server_that_others_started_on_the_data_is_not_disturbed(home: Path) -> None:
    with running(home) as server:
        aside = server.paths.lock.with_suffix(".aside")
        server.paths.lock.rename(aside)  # now our own lock tells nothing of it
        with pytest.raises(Conflict, match=f"Process {server.process.pid} runs PostgreSQL"):
            launcher.start(home)
        assert ask(server.database_url, "SELECT 1") == 1


def test_data_of_another_major_version_is_refused(home: Path) -> None:
    paths = launcher.ensure(home, fast=True)
    (paths.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(Misconfigured, match="PostgreSQL 17; this is 18") as caught:
        launcher.start(home)
    assert "backup" in caught.value.remedy


@pytest.mark.parametrize("content", [None, "{", '{"owner": "x"}'])
def test_lost_or_damaged_passwords_are_told(home: Path, content: str | None) -> None:
    paths = launcher.ensure(home, fast=True)
    paths.secrets.unlink()
    if content is not None:
        paths.secrets.write_text(content)
    with pytest.raises(Misconfigured, match="passwords"):
        launcher.start(home)


def test_passwords_of_other_data_are_told(home: Path) -> None:
    paths = launcher.ensure(home, fast=True)
    paths.secrets.write_text('{"superuser": "x", "owner": "y", "login": "z"}')
    with pytest.raises(Misconfigured, match="not those of the data"):
        launcher.start(home, fast=True)


def test_a_server_that_cannot_start_shows_its_log(home: Path) -> None:
    with pytest.raises(Unavailable, match="shared_buffers"):
        launcher.start(home, fast=True, settings={"shared_buffers": "nonsense"})


def test_files_that_are_not_a_cluster_are_left_alone(home: Path) -> None:
    (home / "postgres").mkdir(parents=True)
    (home / "postgres" / "letter.txt").write_text("mine")
    if AS_ROOT:
        home.chmod(0o711)
    with pytest.raises(Misconfigured, match="holds files"):
        launcher.start(home)
    assert (home / "postgres" / "letter.txt").read_text() == "mine"


def test_a_long_path_gets_a_short_private_socket(home: Path) -> None:
    deep = home / ("a" * 60) / ("b" * 60)
    with running(deep) as server:
        assert len(str(server.paths.socket_file)) <= 107
        assert server.paths.socket.stat().st_mode & 0o077 == 0
        assert ask(server.database_url, "SELECT 1") == 1
    server.paths.socket.chmod(0o755)
    with pytest.raises(Misconfigured, match="belongs to somebody else"):
        launcher.start(deep)
    server.paths.socket.rmdir()


def in_a_fork(work: Callable[[], None]) -> None:
    """Run `work` as an ordinary user, in a fork of this process when we are root; its failure fails the test."""
    if not AS_ROOT:
        work()
        return
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            work()
            status = 0
        except BaseException:  # noqa: BLE001  (shown, and told by the exit status)
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_ordinary_user_runs_it_as_himself() -> None:
    def work() -> None:
        with running(directory / "home") as server:
            assert server.paths.owner is None
            assert server.paths.data.stat().st_uid == os.geteuid()
            assert (directory / "home").stat().st_mode & 0o077 == 0
            assert ask(server.database_url, "SELECT 1") == 1

    with short_directory() as directory:
        if AS_ROOT:
            os.chown(directory, NOBODY, NOBODY)
        in_a_fork(work)


@pytest.mark.skipif(not AS_ROOT, reason="only root hands the server to another user")
def test_root_runs_it_as_a_system_user(postgres_server: launcher.Running) -> None:
    status = Path(f"/proc/{postgres_server.process.pid}/status").read_text()
    uid = binaries.server_user()
    assert uid is not None
    assert f"Uid:\t{uid.uid}\t{uid.uid}\t{uid.uid}\t{uid.uid}" in status


@pytest.mark.skipif(not AS_ROOT, reason="only root hands the server to another user")
def test_root_with_a_closed_home_keeps_the_data_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "SYSTEM_DIRECTORY", home.parent / "system")
    home.mkdir(mode=0o700)
    with running(home) as server:
        assert server.paths.data.is_relative_to(home.parent / "system")
        assert ask(server.database_url, "SELECT 1") == 1
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o711)  # data that exists is found again
    assert cluster.locate(home).data == server.paths.data


@pytest.mark.skipif(not AS_ROOT, reason="only root hands the server to another user")
def test_root_is_told_when_the_home_of_existing_data_was_closed(home: Path) -> None:
    launcher.ensure(home, fast=True)
    home.chmod(0o700)
    with pytest.raises(Misconfigured, match="can no longer pass") as caught:
        launcher.start(home)
    assert "chmod a+x" in caught.value.remedy


def test_no_way_to_make_the_system_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(binaries, "SYSTEM_USER", "charkha-not-there")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(Misconfigured, match="there is no useradd") as caught:
        binaries.server_user()
    assert "ordinary user" in caught.value.remedy


def test_programs_out_of_reach_are_copied_once_and_work(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = binaries.User(NOBODY, NOBODY)
    closed = home / "closed"
    closed.mkdir(parents=True)
    (closed / "pginstall").symlink_to(binaries.find(None).directory.parent)
    closed.chmod(0o700)
    monkeypatch.setattr(binaries, "_installed", lambda: (closed / "pginstall", "18.6.3"))
    if not AS_ROOT:
        home.chmod(0o711)
    found = binaries.find(user, home.parent / "system")
    assert found.directory == home.parent / "system" / "postgresql-18.6.3" / "bin"
    assert user.reaches(found.directory) == user.reaches(home.parent)
    assert subprocess.check_output([found / "postgres", "--version"], text=True).startswith("postgres (PostgreSQL) 18")
    assert binaries.find(user, home.parent / "system") == found
    assert not list((home.parent / "system").glob(".copy-*"))
