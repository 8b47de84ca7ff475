"""Versions that are looked through: read once, checked when read, in bounded memory, apart by workspace."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from charkha.core.errors import NotFound
from charkha.core.messages import Example, Message
from charkha.data import shelf as shelves
from charkha.data.service import DatasetService
from charkha.data.shelf import Shelf
from charkha.kit.blobs import Blobs, Corrupt
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database

pytestmark = pytest.mark.anyio


class Counted(Blobs):
    """A store that counts what is read from it."""

    reads = 0

    async def get(self, workspace_id: UUID, address: str) -> bytes:
        self.reads += 1
        return await super().get(workspace_id, address)


@pytest.fixture
def blobs(tmp_path: Path, secrets_of_test: Secrets) -> Counted:
    return Counted(f"file://{tmp_path}/blobs", secrets_of_test)


async def test_many_readers_make_one_read(blobs: Counted, workspace_id: UUID) -> None:
    shelf, address = Shelf(blobs), await blobs.put(workspace_id, b"one\ntwo\n")
    read = await asyncio.gather(*(shelf.lines(workspace_id, address) for _ in range(10)))
    assert (read[0], read[9], blobs.reads) == ([b"one", b"two"], [b"one", b"two"], 1)


async def test_what_was_not_asked_for_for_longest_goes_first(
    blobs: Counted, workspace_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "MOST_BYTES", 2 * (100 + 64))
    shelf = Shelf(blobs)
    a, b, c = [await blobs.put(workspace_id, letter * 100) for letter in (b"a", b"b", b"c")]
    for address, reads in ((a, 1), (b, 2), (a, 2), (c, 3), (a, 3), (b, 4)):
        await shelf.lines(workspace_id, address)
        assert blobs.reads == reads
    large = await blobs.put(workspace_id, b"x" * 1000)
    for reads in (5, 6):
        assert await shelf.lines(workspace_id, large) == [b"x" * 1000]
        assert blobs.reads == reads, "too large to be kept"
    await shelf.lines(workspace_id, b)
    assert blobs.reads == 6, "and it pushed nothing out"


async def test_a_changed_file_and_a_foreign_address_are_refused(
    blobs: Counted, workspace_id: UUID, tmp_path: Path
) -> None:
    shelf, address = Shelf(blobs), await blobs.put(workspace_id, b"text")
    with pytest.raises(NotFound):
        await shelf.lines(uuid4(), address)
    (path,) = (tmp_path / "blobs").glob(f"*/*/{address}")
    path.write_bytes(b"TEXT")
    with pytest.raises(Corrupt):
        await shelf.lines(workspace_id, address)
    path.write_bytes(b"text")
    assert await shelf.lines(workspace_id, address) == [b"text"]
    with pytest.raises(NotFound):
        await shelf.lines(uuid4(), address)


async def test_pages_of_a_version_are_one_read(database: Database, blobs: Counted, workspace_id: UUID) -> None:
    datasets = DatasetService(blobs)
    examples = [Example((Message("user", f"number {n}"),), f"answer {n}", None) for n in range(500)]
    async with database.workspace(workspace_id, "test") as tx:
        version = await datasets.freeze(tx, name="numbers", examples=examples)
    pages = []
    for offset in range(0, 600, 100):
        async with database.workspace(workspace_id, "test") as tx:
            pages.append(await datasets.excerpt(tx, version.id, offset=offset, limit=100))
    async with database.workspace(workspace_id, "test") as tx:
        assert [
            each.answer for each in await datasets.excerpt(tx, version.id, offset=0, limit=9, text="NUMBER 77")
        ] == ["answer 77"]
        assert blobs.reads == 1
        assert [each for page in pages for each in page] == await datasets.examples(tx, version.id)
    async with database.workspace(uuid4(), "test") as tx:
        with pytest.raises(NotFound):
            await datasets.excerpt(tx, version.id, offset=0, limit=1)
