"""Row-level security, seen from the application's role on a real database."""

from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from charkha.kit.db import Database
from charkha.kit.lineage import Node, edges, link, sources_of
from charkha.kit.postgres.selftest import verify

pytestmark = pytest.mark.anyio


async def test_start_up_self_test_passes(database: Database) -> None:
    await verify(database)


async def test_a_workspace_reads_only_its_own_rows(database: Database, workspace_id: UUID) -> None:
    target = Node("dataset_version", "d")
    async with database.workspace(workspace_id, "test") as tx:
        await link(tx, [Node("inference", "a"), Node("inference", "b")], target)
    async with database.workspace(workspace_id, "test") as tx:
        assert await sources_of(tx, target) == [Node("inference", "a"), Node("inference", "b")]
    async with database.workspace(uuid4(), "test") as tx:
        assert await sources_of(tx, target) == []
    async with database.begin("charkha_app") as conn:
        assert (await conn.execute(sa.select(edges))).all() == []


async def test_a_workspace_cannot_write_into_another(database: Database, workspace_id: UUID) -> None:
    row = {"source_kind": "a", "source_id": "a", "target_kind": "b", "target_id": "b", "workspace_id": uuid4()}
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with database.workspace(workspace_id, "test") as tx:
            await tx.execute(edges.insert().values(**row))


async def test_an_exception_rolls_back(database: Database, workspace_id: UUID) -> None:
    target = Node("run", "r")
    with pytest.raises(RuntimeError):
        async with database.workspace(workspace_id, "test") as tx:
            await link(tx, [Node("a", "a")], target)
            raise RuntimeError
    async with database.workspace(workspace_id, "test") as tx:
        assert await sources_of(tx, target) == []
