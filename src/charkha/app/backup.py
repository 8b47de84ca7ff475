"""Backup and restore: everything that an installation is, keys included, in one file that only its owner can read.

A zip: `spool/` first (what is shipped meanwhile is then in the dump too), the database's dump, `blobs/`, `secrets/`,
and a manifest with a checksum of each. Nothing is extracted whose name or checksum is not the manifest's. Owns the
form of that file; where backups lie, and that one is made at a time, is `backup_folder`'s.
"""

import errno
import hashlib
import json
import os
import signal
import struct
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from charkha import __version__
from charkha.app.installation import Installation
from charkha.core.errors import CharkhaError, Conflict, Invalid, StorageFull, Unavailable
from charkha.kit import process
from charkha.kit.lockfile import is_locked
from charkha.kit.postgres import binaries, launcher

PARTIAL = ".part"
_FOLDERS = ("spool", "blobs", "secrets")
_DUMP, _MANIFEST = "database.dump", "manifest.json"
_CHUNK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What Python's reader raises of a zip that is damaged, wherever the damage is.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    ValueError,
    RuntimeError,
    msgspec.MsgspecError,
)
Progress = Callable[[str], None]


def backup(installation: Installation, target: Path, progress: Progress) -> dict[str, Any]:
    """Write a backup of a running installation to `target`, which must not exist; returns its manifest.

    `progress` is told the name of each file before it is read. What fails leaves nothing behind: raises StorageFull on
    a full disk, Conflict if `target` exists, Unavailable if the database or a file cannot be read.
    """
    partial = target.with_name(target.name + PARTIAL)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            manifest = _write(installation, file, progress)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, target)
    except FileExistsError:
        raise Conflict(f"{target} exists.", remedy="Choose another name; a backup overwrites nothing.") from None
    except OSError as error:
        raise explained(error, target) from error
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def explained(error: OSError, target: Path) -> CharkhaError:
    """What a failure to write (or to read what belongs in it) means for the backup `target`."""
    if error.errno in _FULL:
        return StorageFull(
            f"Could not write {target}: {error.strerror}.", remedy="Free space or choose another disk; nothing is left."
        )
    culprit = error.filename or target
    return Unavailable(
        f"Could not make {target}: {culprit}: {error.strerror or error}.", remedy="See to that file, then try again."
    )


def restore(installation: Installation, source: Path, progress: Progress) -> dict[str, Any]:
    """Make an empty home from a backup; returns the backup's manifest. Nothing may run there, and nothing be there."""
    home = installation.home
    if is_locked(home / "run" / "lock") or (home / "secrets" / "master.key").exists():
        raise Conflict(f"{home} is not empty.", remedy="Choose an empty directory with CHARKHA_HOME.")
    with _opened(source) as (archive, manifest):
        for name, wanted in manifest["sha256"].items():
            progress(name)
            _extract(archive, name, home, wanted)
    progress("database")
    _load(installation, home / _DUMP)
    (home / _DUMP).unlink()
    return manifest


def verify(source: Path, progress: Progress) -> dict[str, Any]:
    """Check every file of a backup against its checksum and write nothing; returns its manifest.

    Raises Invalid, which names the first file that is not what it was.
    """
    with _opened(source) as (archive, manifest):
        for name, wanted in manifest["sha256"].items():
            progress(name)
            for _ in _checked(archive, name, wanted):
                pass
    return manifest


def _write(installation: Installation, file: IO[bytes], progress: Progress) -> dict[str, Any]:
    sums: dict[str, str] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add_folder(archive, installation.home / _FOLDERS[0], sums, progress)
        progress("database")
        with _dump(installation) as dump:
            _add(archive, dump, _DUMP, sums)
        for folder in _FOLDERS[1:]:
            _add_folder(archive, installation.home / folder, sums, progress)
        manifest = {"charkha": __version__, "made_at": datetime.now(UTC).isoformat(), "sha256": sums}
        archive.writestr(_MANIFEST, json.dumps(manifest))
    return manifest


@contextmanager
def _opened(source: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """A backup and its manifest; damage that is met in the block becomes Invalid."""
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = msgspec.json.decode(archive.read(_MANIFEST), type=dict[str, Any])
            msgspec.convert(manifest["sha256"], dict[str, str])
            yield archive, manifest
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.ENOENT):
            raise  # a place outside the file is damage; what else fails here is the disk's or the home's
        raise Invalid(
            f"{source} is no backup of Charkha, or is damaged: {error}.", remedy="Use another backup."
        ) from error


def _add_folder(archive: zipfile.ZipFile, folder: Path, sums: dict[str, str], progress: Progress) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            name = str(path.relative_to(folder.parent))
            progress(name)
            try:
                with path.open("rb") as file:
                    _add(archive, file, name, sums)
            except FileNotFoundError:
                progress(f"{name} was shipped meanwhile")


def _add(archive: zipfile.ZipFile, file: IO[bytes], name: str, sums: dict[str, str]) -> None:
    digest = hashlib.sha256()
    with archive.open(name, "w", force_zip64=True) as member:
        for chunk in _chunks(file):
            digest.update(chunk)
            member.write(chunk)
    sums[name] = digest.hexdigest()


def _extract(archive: zipfile.ZipFile, name: str, home: Path, wanted: str) -> None:
    parts = PurePosixPath(name).parts
    if ".." in parts or PurePosixPath(name).is_absolute() or parts[0] not in (*_FOLDERS, _DUMP):
        raise Invalid(f"The backup names a file outside the home: {name!r}.", remedy="Do not use this file.")
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in _checked(archive, name, wanted):
            file.write(chunk)
        os.fsync(file.fileno())


def _checked(archive: zipfile.ZipFile, name: str, wanted: str) -> Iterator[bytes]:
    """The content of a member. Raises Invalid at its end if its SHA-256 is not `wanted`."""
    digest = hashlib.sha256()
    with archive.open(name) as member:
        for chunk in _chunks(member):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != wanted:
        raise Invalid(f"{name} in the backup is damaged.", remedy="Use another backup.")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


@contextmanager
def _dump(installation: Installation) -> Iterator[IO[bytes]]:
    """The database as the owner sees it; the owner's policies let row-level security pass every row."""
    options = ["--format=custom", "--enable-row-security", "--compress=gzip:1"]
    with _running("pg_dump", installation.migration_url, options) as dump:
        yield dump


def _load(installation: Installation, dump: Path) -> None:
    if not installation.settings.embedded_database:
        _restore_into(installation.migration_url, dump)
        return
    running = launcher.start(installation.home)
    try:
        _restore_into(running.migration_url, dump)
    finally:
        running.stop()


def _restore_into(url: str, dump: Path) -> None:
    options = ["--no-owner", "--exit-on-error", "--single-transaction", str(dump)]
    with _running("pg_restore", url, options) as output:
        output.read()


@contextmanager
def _running(program: str, url: str, options: list[str]) -> Iterator[IO[bytes]]:
    """What one of PostgreSQL's own programs writes; its complaint becomes ours, and it never outlives the block.

    The password goes by its environment: everybody on the machine may read a command line.
    """
    login = conninfo_to_dict(url)
    password = login.pop("password", None)
    env = {"LC_ALL": "C", **({"PGPASSWORD": str(password)} if password else {})}
    argv: list[str | Path] = [binaries.find(None) / program, f"--dbname={make_conninfo('', **login)}", *options]
    with tempfile.TemporaryFile() as said:
        child = process.spawn(argv, env=env, stdout=subprocess.PIPE, log=said.fileno())
        output: Any = child.stdout
        try:
            yield output
            child.wait()
        finally:
            process.signal_group(child, signal.SIGKILL)
            output.close()
            child.wait()
        if child.returncode:
            said.seek(0)
            raise _complaint(program, child.returncode, said.read().decode(errors="replace"))


def _complaint(program: str, status: int, said: str) -> CharkhaError:
    last = said.strip().splitlines()[-1] if said.strip() else process.explain(status)
    return Unavailable(f"{program}: {last}", remedy="Is the database up, and of the same major version?")
