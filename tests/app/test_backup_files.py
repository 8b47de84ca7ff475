"""A backup is opened only if it is whole and names nothing outside the home."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from charkha.app import settings
from charkha.app.backup import restore
from charkha.app.installation import Installation
from charkha.core.errors import CharkhaError, Conflict, Invalid


def _backup(path: Path, files: dict[str, bytes], sums: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        listed = sums or {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        archive.writestr("manifest.json", json.dumps({"made_at": "now", "sha256": listed}))
    return path


def _installation(home: Path) -> Installation:
    return Installation(settings.load(home=home))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "secrets/../../evil", "other/file"])
def test_a_name_outside_the_home_is_refused(tmp_path: Path, name: str) -> None:
    file = _backup(tmp_path / "b", {name: b"x"})
    with pytest.raises(Invalid, match="outside the home"):
        restore(_installation(tmp_path / "home"), file, lambda _: None)
    assert not (tmp_path / "evil").exists()


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    file = _backup(tmp_path / "b", {"secrets/a": b"x"}, {"secrets/a": "0" * 64})
    with pytest.raises(Invalid, match="damaged"):
        restore(_installation(tmp_path / "home"), file, lambda _: None)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04truncated"])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(CharkhaError) as caught:
        restore(_installation(tmp_path / "home"), tmp_path / "b", lambda _: None)
    assert caught.value.remedy


def test_a_home_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    installation = _installation(tmp_path / "home")
    assert installation.secrets
    with pytest.raises(Conflict):
        restore(installation, _backup(tmp_path / "b", {}), lambda _: None)
