"""Versions by how their names begin: exactly so, byte by byte, from an index, among ten thousand."""

import time

import pytest
import sqlalchemy as sa

from charkha.core.ids import uuid7
from charkha.release.registry import store
from charkha.release.tables import versions
from tests.release.world import World

pytestmark = pytest.mark.anyio


async def named(world: World, *names: str) -> None:
    """A base version of each name."""
    async with world.tx() as tx:
        for name in names:
            await world.registry.register_base(tx, name=name, engine="local", base_model=name)


async def test_names_by_how_they_begin(world: World) -> None:
    await named(world, "mail", "mail-x", "mailbox", "Mail", "mai", "ma.l", "n/1")
    async with world.tx() as tx:
        for prefix, found in (
            ("mail", ["mailbox", "mail-x", "mail"]),
            ("mail-", ["mail-x"]),
            ("ma.", ["ma.l"]),
            ("M", ["Mail"]),
            ("n/1", ["n/1"]),
            ("ma%", []),
            ("m_i", []),
            ("é", []),
            ("mailboxes", []),
        ):
            assert [each.name for each in (await world.registry.listed(tx, prefix=prefix)).data] == found, prefix
        assert (await world.registry.listed(tx, prefix="mail", kind="adapter")).data == []
        first = await world.registry.listed(tx, prefix="mail", limit=2)
        rest = await world.registry.listed(tx, prefix="mail", limit=2, after=first.next)
        assert [each.name for each in rest.data] == ["mail"]
        assert len((await world.registry.listed(tx, prefix="")).data) >= 7, "no text is no condition"
    async with world.tx(uuid7()) as tx:
        assert (await world.registry.listed(tx, prefix="m")).data == []


async def test_ten_thousand_versions_are_narrowed_by_the_index(world: World) -> None:
    row = {"kind": "base", "engine": "local", "base_model": "m", "adapters": [], "artefacts": {}, "detail": {}}
    rows = [
        {"workspace_id": world.workspace_id, "id": uuid7(), "name": f"name-{n:05}", "number": 0, **row}
        for n in range(10_000)
    ]
    async with world.tx() as tx:
        await tx.execute(versions.insert(), rows)
        started = time.perf_counter()
        found = await world.registry.listed(tx, prefix="name-0777")
        assert time.perf_counter() - started < 1
        assert sorted(each.name for each in found.data) == [f"name-0777{n}" for n in range(10)]
        query = sa.select(versions.c.id).where(versions.c.workspace_id == world.workspace_id)
        query = query.where(*store._begins(versions.c.name, "name-0777"))
        text = query.compile(dialect=tx.conn.dialect, compile_kwargs={"literal_binds": True})
        plan = "\n".join(row[0] for row in await tx.all(sa.text(f"EXPLAIN {text}")))
    assert "ix_versions_prefix" in plan, plan
    assert "~>=~" in plan.partition("Index Cond")[2], plan
