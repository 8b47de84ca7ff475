"""Blobs: the same content has one address in a workspace and another elsewhere; damage is found before use."""

from pathlib import Path
from uuid import uuid4

import pytest

from charkha.core.errors import NotFound
from charkha.kit.blobs import Blobs, Corrupt
from charkha.kit.crypto import Secrets

pytestmark = pytest.mark.anyio


@pytest.fixture
def blobs(tmp_path: Path, secrets_of_test: Secrets) -> Blobs:
    return Blobs(str(tmp_path / "blobs"), secrets_of_test)


async def test_content_comes_back_and_is_stored_once(blobs: Blobs, tmp_path: Path) -> None:
    workspace = uuid4()
    address = await blobs.put(workspace, b"content")
    assert await blobs.put(workspace, b"content") == address
    assert await blobs.get(workspace, address) == b"content"
    assert len([path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]) == 1
    copy = await blobs.fetch(workspace, address, tmp_path / "deep" / "copy")
    assert copy.read_bytes() == b"content"


async def test_equal_content_in_two_workspaces_cannot_be_told(blobs: Blobs) -> None:
    mine, other = uuid4(), uuid4()
    address = await blobs.put(mine, b"content")
    assert address != await blobs.put(other, b"content")
    with pytest.raises(NotFound):
        await blobs.get(other, address)


async def test_a_flipped_byte_is_found(blobs: Blobs, tmp_path: Path) -> None:
    workspace = uuid4()
    address = await blobs.put(workspace, b"content")
    path = next(path for path in (tmp_path / "blobs").rglob(address))
    path.write_bytes(b"cOntent")
    with pytest.raises(Corrupt):
        await blobs.get(workspace, address)
