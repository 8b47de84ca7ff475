"""Backup and restore: everything that an installation is, keys included, in one file that only its owner can read.

A zip: `spool/` first (what is shipped meanwhile is then in the dump too), the database's dump, `blobs/`, `secrets/`,
and a manifest with a checksum of each. Nothing is extracted whose name or checksum is not the manifest's.
"""

import hashlib
import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from charkha import __version__
from charkha.app.installation import Installation
from charkha.core.errors import Conflict, Invalid, StorageFull, Unavailable
from charkha.kit.lockfile import is_locked
from charkha.kit.postgres import binaries, launcher

_FOLDERS = ("spool", "blobs", "secrets")
_DUMP, _MANIFEST = "database.dump", "manifest.json"
_CHUNK = 1 << 20
Progress = Callable[[str], None]


def backup(installation: Installation, target: Path, progress: Progress) -> dict[str, Any]:
    """Write a backup of a running installation to `target`, which must not exist; returns its manifest."""
    partial = target.with_name(target.name + ".part")
    sums: dict[str, str] = {}
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            _add_folder(archive, installation.home / "spool", sums, progress)
            progress("database")
            _add(archive, _dump(installation), _DUMP, sums)
            for folder in _FOLDERS[1:]:
                _add_folder(archive, installation.home / folder, sums, progress)
            manifest = {"charkha": __version__, "made_at": datetime.now(UTC).isoformat(), "sha256": sums}
            archive.writestr(_MANIFEST, json.dumps(manifest))
        os.link(partial, target)
    except FileExistsError:
        raise Conflict(f"{target} exists.", remedy="Choose another name; a backup overwrites nothing.") from None
    except OSError as error:
        raise StorageFull(
            f"Could not write {target}: {error.strerror}.", remedy="Free space or choose another disk."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
        (installation.home / "run" / _DUMP).unlink(missing_ok=True)
    return manifest


def restore(installation: Installation, source: Path, progress: Progress) -> dict[str, Any]:
    """Make an empty home from a backup; returns the backup's manifest. Nothing may run there, and nothing be there."""
    home = installation.home
    if is_locked(home / "run" / "lock") or (home / "secrets" / "master.key").exists():
        raise Conflict(f"{home} is not empty.", remedy="Choose an empty directory with CHARKHA_HOME.")
    try:
        with zipfile.ZipFile(source) as archive:
            manifest: dict[str, Any] = json.loads(archive.read(_MANIFEST))
            for name, wanted in manifest["sha256"].items():
                progress(name)
                _extract(archive, name, home, wanted)
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, FileNotFoundError) as error:
        raise Invalid(
            f"{source} is no backup of Charkha, or is damaged: {error}.", remedy="Use another backup."
        ) from error
    progress("database")
    _load(installation, home / _DUMP)
    (home / _DUMP).unlink()
    return manifest


def _add_folder(archive: zipfile.ZipFile, folder: Path, sums: dict[str, str], progress: Progress) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            name = str(path.relative_to(folder.parent))
            progress(name)
            try:
                _add(archive, path, name, sums)
            except FileNotFoundError:
                progress(f"{name} was shipped meanwhile")


def _add(archive: zipfile.ZipFile, path: Path, name: str, sums: dict[str, str]) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file, archive.open(name, "w", force_zip64=True) as member:
        for chunk in _chunks(file):
            digest.update(chunk)
            member.write(chunk)
    sums[name] = digest.hexdigest()


def _extract(archive: zipfile.ZipFile, name: str, home: Path, wanted: str) -> None:
    parts = PurePosixPath(name).parts
    if ".." in parts or PurePosixPath(name).is_absolute() or parts[0] not in (*_FOLDERS, _DUMP):
        raise Invalid(f"The backup names a file outside the home: {name!r}.", remedy="Do not use this file.")
    path, digest = home / name, hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (
        archive.open(name) as member,
        os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
    ):
        for chunk in _chunks(member):
            digest.update(chunk)
            file.write(chunk)
        os.fsync(file.fileno())
    if digest.hexdigest() != wanted:
        raise Invalid(f"{name} in the backup is damaged.", remedy="Use another backup.")


def _chunks(file: Any) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _dump(installation: Installation) -> Path:
    """The database as the owner sees it; the owner's policies let row-level security pass every row."""
    target = installation.home / "run" / _DUMP
    options = ["--format=custom", "--enable-row-security", "--compress=gzip:1", f"--file={target}"]
    _run("pg_dump", [*options, installation.migration_url])
    return target


def _load(installation: Installation, dump: Path) -> None:
    options = ["--no-owner", "--exit-on-error", "--single-transaction"]
    if not installation.settings.embedded_database:
        _run("pg_restore", [*options, f"--dbname={installation.migration_url}", str(dump)])
        return
    running = launcher.start(installation.home)
    try:
        _run("pg_restore", [*options, f"--dbname={running.migration_url}", str(dump)])
    finally:
        running.stop()


def _run(program: str, arguments: list[str]) -> None:
    """Run one of PostgreSQL's own programs; its complaint becomes ours."""
    path = binaries.find(None) / program
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        complaint = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"
        raise Unavailable(f"{program}: {complaint}", remedy="Is the database up, and of the same major version?")
