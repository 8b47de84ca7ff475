"""The directory of an embedded PostgreSQL: where it is, how it is made, who may open it.

Owns what lies on disk: the data directory (made beside its place and renamed into it, so that a kill in the middle
leaves nothing half made), the passwords in `secrets/postgres.json` (written before the data that needs them) and the
socket directory. As root the data belongs to the system user `charkha`, and stands in /var/lib/charkha when that user
cannot pass into `home`.
"""

import hashlib
import json
import os
import secrets
import shutil
import stat
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from charkha.core.errors import Misconfigured, Unavailable
from charkha.kit import process
from charkha.kit.lockfile import LockFile
from charkha.kit.postgres import binaries
from charkha.kit.postgres.binaries import Binaries, User

SUPERUSER = "postgres"
PORT = 5432  # only names the socket file
SOCKET_NAME = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET_PATH = 107  # sun_path of unix(7) holds 108 bytes with its NUL


@dataclass(frozen=True)
class Passwords:
    """Random, 256 bits each."""

    superuser: str
    owner: str
    login: str


@dataclass(frozen=True)
class Paths:
    """Where everything of one embedded PostgreSQL is. `owner` is the (uid, gid) it runs as; None is ourselves."""

    home: Path
    data: Path
    socket: Path
    log: Path
    lock: Path
    secrets: Path
    binaries: Binaries
    owner: tuple[int, int] | None

    @property
    def socket_file(self) -> Path:
        """What a client connects to."""
        return self.socket / SOCKET_NAME

    def url(self, user: str, password: str, database: str) -> str:
        """An address for libpq through the socket."""
        return f"postgresql://{user}:{quote(password)}@/{database}?host={quote(str(self.socket), safe='')}&port={PORT}"


def locate(home: Path) -> Paths:
    """Where the server of `home` is or will be. Makes `home` if it is absent (0711 as root, else 0700)."""
    home = home.expanduser().absolute()
    user = binaries.server_user()
    make_home(home)
    data = _choose_data(home, user)
    return Paths(
        home=home,
        data=data,
        socket=_choose_socket(data, os.geteuid() if user is None else user.uid),
        log=home / "log" / "postgres.log",
        lock=home / "run" / "postgres.lock",
        secrets=home / "secrets" / "postgres.json",
        binaries=binaries.find(user),
        owner=None if user is None else (user.uid, user.gid),
    )


def make_home(home: Path) -> None:
    """Make `home` and its private directories, if they are absent. One that exists keeps its mode."""
    if os.geteuid() == 0:
        binaries.make_shared_directory(home)
    else:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for private in ("log", "run", "secrets"):
        (home / private).mkdir(mode=0o700, exist_ok=True)


def create(paths: Paths, lock: LockFile, *, sync: bool = True) -> None:
    """Make the cluster unless it is there. `lock` is held, and lent to initdb, whose children can outlive us both."""
    if (paths.data / "PG_VERSION").exists():
        _check_version(paths)
        read_passwords(paths)
        return
    if paths.data.exists() and any(paths.data.iterdir()):
        raise Misconfigured(
            f"{paths.data} holds files, but no PostgreSQL.",
            remedy="Move it away, or choose another directory with CHARKHA_HOME.",
        )
    passwords = read_passwords(paths) if paths.secrets.exists() else _write_passwords(paths)
    _initialise(paths, lock, passwords.superuser, sync=sync)


def read_passwords(paths: Paths) -> Passwords:
    """The passwords of this server; Misconfigured when they are lost or damaged."""
    try:
        return Passwords(**json.loads(paths.secrets.read_text()))
    except FileNotFoundError:
        problem = "is missing"
    except (ValueError, TypeError):
        problem = "is damaged"
    raise Misconfigured(
        f"The file of PostgreSQL's passwords, {paths.secrets}, {problem}.",
        remedy=f"Restore it from a backup (charkha restore), or move {paths.data} and that file away to start empty.",
    )


def recorded_pid(paths: Paths) -> int | None:
    """The pid that `postmaster.pid` claims; None when there is none or the file is cut short."""
    try:
        first = (paths.data / "postmaster.pid").read_text().partition("\n")[0]
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() else None


def serves(pid: int, data: Path) -> bool:
    """Whether process `pid` lives and works in the data directory, as every PostgreSQL process does in its own."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except (FileNotFoundError, PermissionError):
        return False


def make_socket_directory(paths: Paths) -> None:
    """Make the short socket directory if one is used. Its name can be guessed, so a foreign one is refused."""
    if paths.socket == paths.data:
        return
    uid, gid = paths.owner or (os.geteuid(), os.getegid())
    try:
        paths.socket.mkdir(mode=0o700)
        os.chown(paths.socket, uid, gid)
    except FileExistsError:
        status = paths.socket.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid or status.st_mode & 0o077:
            raise Misconfigured(
                f"{paths.socket} belongs to somebody else.",
                remedy="Remove it, or choose a CHARKHA_HOME with a shorter path.",
            ) from None


def _choose_data(home: Path, user: User | None) -> Path:
    """Data that exists is found again, even when the mode of a directory above it has changed since."""
    inside = home / "postgres"
    if user is None:
        return inside
    outside = binaries.SYSTEM_DIRECTORY / "clusters" / _digest(home.resolve())
    if (inside / "PG_VERSION").exists():
        if not user.reaches(home):
            raise Misconfigured(
                f"The system user {binaries.SYSTEM_USER} can no longer pass into {home}, where its data is.",
                remedy=f"Allow it again: chmod a+x {home} and the directories above it.",
                param="CHARKHA_HOME",
            )
        return inside
    return outside if (outside / "PG_VERSION").exists() or not user.reaches(home) else inside


def _choose_socket(data: Path, uid: int) -> Path:
    if len(os.fsencode(data / SOCKET_NAME)) <= _LONGEST_SOCKET_PATH:
        return data
    return Path("/tmp") / f"charkha-{uid}-{_digest(data)}"  # noqa: S108  (ours alone: see make_socket_directory)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _check_version(paths: Paths) -> None:
    found = (paths.data / "PG_VERSION").read_text().strip()
    if found != str(paths.binaries.major):
        raise Misconfigured(
            f"The data in {paths.data} is of PostgreSQL {found or '(unknown)'}; this is {paths.binaries.major}.",
            remedy="Make a backup with the Charkha that wrote it (charkha backup) and restore that with this one.",
        )


def _write_passwords(paths: Paths) -> Passwords:
    passwords = Passwords(*(secrets.token_urlsafe(32) for _ in range(3)))
    scratch = paths.secrets.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(passwords), file)
        file.flush()
        os.fsync(descriptor)
    scratch.rename(paths.secrets)
    return passwords


def _initialise(paths: Paths, lock: LockFile, password: str, *, sync: bool) -> None:
    if paths.owner is not None:
        binaries.make_shared_directory(paths.data.parent)
    for abandoned in paths.data.parent.glob(f".{paths.data.name}-*"):
        shutil.rmtree(abandoned)
    scratch = Path(tempfile.mkdtemp(dir=paths.data.parent, prefix=f".{paths.data.name}-"))
    try:
        new = scratch / "data"
        new.mkdir(mode=0o700)
        (scratch / "password").write_text(password)
        for path in (scratch, new, scratch / "password"):
            os.chown(path, *(paths.owner or (-1, -1)))
        _run_initdb(paths, lock, new, scratch / "password", sync=sync)
        new.rename(paths.data)
    finally:
        shutil.rmtree(scratch)


def _run_initdb(paths: Paths, lock: LockFile, data: Path, password_file: Path, *, sync: bool) -> None:
    """The locale is the server's own C.UTF-8, so that no update of the system can change the order of an index."""
    child = process.spawn(
        [
            *(paths.binaries / "initdb", "-D", data, "-U", SUPERUSER, "--pwfile", password_file),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", *([] if sync else ["--no-sync"])),
        ],
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"},
        inherit_env=False,
        log=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        cwd=data,
        user=paths.owner,
        pass_fds=[lock.descriptor],
    )
    said, _ = child.communicate()
    if child.returncode != 0:
        reason = said.decode(errors="replace").strip()
        raise Unavailable(
            f"initdb could not make {paths.data} ({process.explain(child.returncode)}):\n{reason}\n",
            remedy="Mend what it names (often a full disk), then start again.",
        )
