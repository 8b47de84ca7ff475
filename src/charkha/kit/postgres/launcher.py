"""The embedded PostgreSQL: made on first use, started as our child, gone when we are gone.

Owns the server's directories, its passwords and its lock. `start(home)` gives a `Running` with the two addresses that
the product uses; `urls(home)` gives the same addresses to other processes of the same user; nothing listens on TCP.

What is trusted is one `flock`, which every process of the server inherits: while it is held somebody runs here, once we
hold it nobody does, whatever a left-over `postmaster.pid` claims. The server gets SIGINT (a fast shutdown) when the
thread that started it ends, even by `kill -9`: start it from a thread that stays.
"""

import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from charkha.core.errors import Conflict, Misconfigured, Unavailable
from charkha.kit import process
from charkha.kit.lockfile import LockFile
from charkha.kit.postgres import cluster, roles
from charkha.kit.postgres.cluster import Paths

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "synchronous_commit": "on",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
# For tests alone: a crash of the machine may lose everything.
_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}
_HANDOVER_SECONDS = 30.0
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Urls:
    """Addresses for libpq. `database` logs in as `charkha`, `migration` as the owner, `admin` as the superuser."""

    database: str
    migration: str
    admin: str


@dataclass
class Running:
    """A server that answers. It is our child; `stop` it, or end."""

    paths: Paths
    urls: Urls
    process: subprocess.Popen[bytes]
    lock: LockFile

    @property
    def database_url(self) -> str:
        """For the product: login `charkha`, which has no rights until a connection sets its role."""
        return self.urls.database

    @property
    def migration_url(self) -> str:
        """For migrations: login `charkha_owner`."""
        return self.urls.migration

    def alive(self) -> bool:
        """Whether the server has not ended."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Shut down: connections are closed, everything committed is on disk. Doing it again is harmless."""
        process.terminate(self.process, _STOP_SECONDS, signal.SIGINT)
        self.lock.release()


def ensure(home: Path, *, fast: bool = False) -> Paths:
    """Make what the server needs in `home` (programs, passwords, an empty cluster) without starting it."""
    paths = cluster.locate(home)
    with _locked(paths) as lock:
        cluster.create(paths, lock, sync=not fast)
    return paths


def start(home: Path, *, fast: bool = False, settings: Mapping[str, str] | None = None) -> Running:
    """Start the server of `home`, made first if it is not there, with its roles and its database.

    `fast` gives up durability, for tests. `settings` are PostgreSQL's own, over ours. Raises Conflict when somebody
    runs it already, Misconfigured when the data cannot be used, Unavailable when the server does not come up.
    """
    paths = cluster.locate(home)
    lock = _locked(paths)
    try:
        cluster.create(paths, lock, sync=not fast)
        _forget_last_run(paths)
        child = _launch(paths, lock, _SETTINGS | (_FAST if fast else {}) | dict(settings or {}))
    except BaseException:
        lock.release()
        raise
    running = Running(paths, urls(home), child, lock)
    try:
        _prepare(running)
    except BaseException:
        running.stop()
        raise
    return running


def urls(home: Path) -> Urls:
    """The addresses of the server of `home`, running or not. Raises Misconfigured when it was never made."""
    paths = cluster.locate(home)
    passwords = cluster.read_passwords(paths)
    return Urls(
        database=paths.url(roles.LOGIN, passwords.login, roles.LOGIN),
        migration=paths.url(roles.OWNER, passwords.owner, roles.LOGIN),
        admin=paths.url(cluster.SUPERUSER, passwords.superuser, "postgres"),
    )


def answers(home: Path) -> bool:
    """Whether the server of `home` takes connections now."""
    try:
        psycopg.connect(urls(home).database, connect_timeout=2).close()
    except (psycopg.OperationalError, Misconfigured):
        return False
    return True


def _locked(paths: Paths) -> LockFile:
    """The cluster's lock. A server whose starter was killed is given time to finish its shutdown."""
    lock = LockFile(paths.lock)
    owner = None
    deadline = time.monotonic() + _HANDOVER_SECONDS
    while time.monotonic() < deadline:
        if lock.acquire(wait=0.2):
            return lock
        owner = lock.owner()
        if owner is not None:
            break
    holder = f"process {owner}" if owner else f"a server that does not end (process {cluster.recorded_pid(paths)})"
    raise Conflict(
        f"The PostgreSQL of {paths.home} is in use by {holder}.",
        remedy="Stop it first (charkha down), or choose another directory with CHARKHA_HOME.",
        code="already_running",
    )


def _forget_last_run(paths: Paths) -> None:
    """Remove what a killed server left behind. We hold the lock, so a server alive here was started by other means."""
    pid = cluster.recorded_pid(paths)
    if pid is not None and cluster.serves(pid, paths.data):
        raise Conflict(
            f"Process {pid} runs PostgreSQL on {paths.data}, and Charkha did not start it.",
            remedy=f"Stop it (kill -INT {pid}), then start again.",
            code="already_running",
        )
    socket_lock = paths.socket / f"{cluster.SOCKET_NAME}.lock"
    for leftover in (paths.data / "postmaster.pid", paths.socket_file, socket_lock):
        leftover.unlink(missing_ok=True)


def _launch(paths: Paths, lock: LockFile, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    cluster.make_socket_directory(paths)
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    return process.spawn(
        [paths.binaries / "postgres", "-D", paths.data, "-k", paths.socket, "-p", str(cluster.PORT), *options],
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        inherit_env=False,
        log=paths.log,
        cwd=paths.data,
        user=paths.owner,
        pass_fds=[lock.descriptor],
        death_signal=signal.SIGINT,
    )


def _prepare(running: Running) -> None:
    """Wait for the first connection, then make roles and database what they should be (a killed first start heals)."""
    passwords = cluster.read_passwords(running.paths)
    with _connected(running) as connection:
        roles.ensure_roles(connection, passwords.owner, passwords.login)


def _connected(running: Running) -> roles.Connection:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return psycopg.connect(running.urls.admin, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            if "authentication failed" in str(error):
                raise _wrong_password(running.paths) from error
            if not running.alive() or time.monotonic() > deadline:
                raise _did_not_start(running) from error
        time.sleep(0.01)


def _wrong_password(paths: Paths) -> Misconfigured:
    return Misconfigured(
        f"The passwords in {paths.secrets} are not those of the data in {paths.data}.",
        remedy=f"Restore both from one backup, or move {paths.data} away to start empty.",
    )


def _did_not_start(running: Running) -> Unavailable:
    status = running.process.poll()
    how = "does not answer" if status is None else f"ended ({process.explain(status)})"
    log = running.paths.log
    return Unavailable(f"PostgreSQL {how}. Its last words:\n{process.tail(log)}\n", remedy=f"See {log}.")
