"""Keys of the installation: made once, private, bound to purpose and workspace."""

from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidTag

from charkha.core.errors import Misconfigured
from charkha.kit.crypto import Secrets


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    first, again = Secrets.load(tmp_path / "s"), Secrets.load(tmp_path / "s")
    assert first.hash_token("t") == again.hash_token("t")
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (tmp_path / "s").iterdir())


def test_keys_differ_by_purpose_and_workspace(secrets_of_test: Secrets) -> None:
    workspace = uuid4()
    keys = {
        secrets_of_test.derive("a"),
        secrets_of_test.derive("b"),
        secrets_of_test.derive("a", workspace),
        secrets_of_test.derive("a", uuid4()),
    }
    assert len(keys) == 4


def test_what_is_sealed_opens_only_in_its_context(secrets_of_test: Secrets) -> None:
    sealed = secrets_of_test.seal(b"secret", context="row 1")
    assert b"secret" not in sealed
    assert secrets_of_test.open(sealed, context="row 1") == b"secret"
    with pytest.raises(InvalidTag):
        secrets_of_test.open(sealed, context="row 2")


@pytest.mark.parametrize(("content", "mode"), [(b"short", 0o600), (b"x" * 32, 0o644)])
def test_a_damaged_or_open_key_file_is_refused(tmp_path: Path, content: bytes, mode: int) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(Misconfigured) as caught:
        Secrets.load(tmp_path)
    assert caught.value.remedy
