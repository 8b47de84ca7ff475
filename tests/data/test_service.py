"""Data sets on a real database: known by their content, traced to where they came from, apart by workspace."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from charkha.core.errors import CharkhaError, Invalid, NotFound
from charkha.core.ids import uuid7
from charkha.core.messages import Example, Message
from charkha.data.service import DatasetService
from charkha.data.store import text_hash
from charkha.data.tables import dataset_examples
from charkha.kit.blobs import Blobs
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.lineage import Node, sources_of

pytestmark = pytest.mark.anyio


def example(text: str, label: str, **origin: str) -> Example:
    return Example((Message("system", "Classify."), Message("user", text)), label, label, **origin)


TWO = [example("a bird sings", "bird"), example("a stone rolls", "stone")]


@pytest.fixture
def datasets(tmp_path: Path, secrets_of_test: Secrets) -> DatasetService:
    return DatasetService(Blobs(f"file://{tmp_path}/blobs", secrets_of_test))


async def test_the_same_content_is_the_same_version_in_any_order(
    database: Database, datasets: DatasetService, workspace_id: UUID
) -> None:
    async with database.workspace(workspace_id, "test") as tx:
        first = await datasets.freeze(tx, name="kinds", examples=TWO, report={"from": "a test"})
        again = await datasets.freeze(tx, name="kinds", examples=TWO[::-1])
        more = await datasets.freeze(tx, name="kinds", examples=[*TWO, example("a tree grows", "tree")])
    assert again == first
    assert (first.number, more.number) == (1, 2)
    assert first.labels == ["bird", "stone"]
    counted = {"given": 2, "repeated": 0, "contradictory": 0, "held_out": 0}
    statistics = {"classes": {"bird": 1, "stone": 1}, "unlabelled": 0, "mean_characters": 26, "longest_characters": 27}
    assert first.report == {"from": "a test", **counted, "statistics": statistics}
    async with database.workspace(workspace_id, "test") as tx:
        assert sorted(await datasets.examples(tx, first.id), key=lambda each: each.answer) == TWO
        assert [version.id for version in (await datasets.versions(tx, first.dataset_id)).data] == [more.id, first.id]
        assert [(each.name, each.versions) for each in (await datasets.listed(tx)).data] == [("kinds", 2)]


async def test_concurrent_freezes_of_the_same_content_make_one_version(
    database: Database, datasets: DatasetService, workspace_id: UUID
) -> None:
    async def freeze() -> UUID:
        async with database.workspace(workspace_id, "test") as tx:
            return (await datasets.freeze(tx, name="kinds", examples=TWO)).id

    assert len(set(await asyncio.gather(*(freeze() for _ in range(5))))) == 1


async def test_what_is_held_out_repeated_or_contradictory_is_left_out_and_counted(
    database: Database, datasets: DatasetService, workspace_id: UUID
) -> None:
    given = [*TWO, example("A  bird SINGS", "bird"), example("both", "bird"), example("both", "stone")]
    without_prompt = Example((Message("user", "a stone rolls"),), "stone", "stone")
    async with database.workspace(workspace_id, "test") as tx:
        version = await datasets.freeze(tx, name="kinds", examples=given, held_out={text_hash(without_prompt)})
        assert await datasets.examples(tx, version.id) == [TWO[0]]
        assert await datasets.text_hashes(tx, version.id) == {text_hash(TWO[0])}
    assert version.report.pop("statistics")["classes"] == {"bird": 1}
    assert version.report == {"given": 5, "repeated": 1, "contradictory": 2, "held_out": 1}


async def test_examples_are_traced_to_inferences_and_subjects(
    database: Database, datasets: DatasetService, workspace_id: UUID
) -> None:
    inference = str(uuid7())
    given = [example("a bird sings", "bird", inference_id=inference, subject_id="ann"), TWO[1]]
    async with database.workspace(workspace_id, "test") as tx:
        version = await datasets.freeze(tx, name="kinds", examples=given, sources=[Node("feedback", "f")])
        found = await sources_of(tx, Node("dataset_version", str(version.id)))
        rows = await tx.all(sa.select(dataset_examples).where(dataset_examples.c.subject_id == "ann"))
    assert found == [Node("feedback", "f"), Node("inference", inference)]
    assert [(row.version_id, str(row.inference_id)) for row in rows] == [(version.id, inference)]


async def test_another_workspace_reaches_nothing(
    database: Database, datasets: DatasetService, workspace_id: UUID
) -> None:
    async with database.workspace(workspace_id, "test") as tx:
        version = await datasets.freeze(tx, name="kinds", examples=TWO)
    async with database.workspace(uuid4(), "test") as tx:
        assert (await datasets.listed(tx)).data == []
        for reach in (datasets.version, datasets.examples, datasets.text_hashes):
            with pytest.raises(NotFound):
                await reach(tx, version.id)
        with pytest.raises(NotFound):
            await datasets.versions(tx, version.dataset_id)
        own = await datasets.freeze(tx, name="kinds", examples=TWO)
    assert own.id != version.id
    assert own.number == 1


async def test_a_changed_byte_is_found_before_use(
    database: Database, datasets: DatasetService, workspace_id: UUID, tmp_path: Path
) -> None:
    async with database.workspace(workspace_id, "test") as tx:
        version = await datasets.freeze(tx, name="kinds", examples=TWO)
        (blob,) = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
        blob.write_bytes(blob.read_bytes().replace(b"bird", b"bard"))
        with pytest.raises(CharkhaError, match="changed on disk"):
            await datasets.examples(tx, version.id)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb"])
async def test_a_name_must_be_one(database: Database, datasets: DatasetService, workspace_id: UUID, name: str) -> None:
    async with database.workspace(workspace_id, "test") as tx:
        with pytest.raises(Invalid, match="no name"):
            await datasets.freeze(tx, name=name, examples=TWO)
