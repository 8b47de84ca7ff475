"""The registry on a real database: numbers, re-delivery, damaged files, aliases, lineage, tenancy."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from charkha.core.errors import Conflict, Invalid, NotFound, TooLarge, Unavailable
from charkha.core.events import CandidateTrained
from charkha.govern.tables import audit
from charkha.kit.blobs import Corrupt
from charkha.kit.eventlog import events
from charkha.kit.lineage import Node, link
from charkha.kit.system import system
from charkha.release.registry import adapters as adapters_module
from charkha.release.registry.adapters import AdapterService
from charkha.release.registry.targets import load_targets
from tests.release.world import BASE_HASH, World

pytestmark = pytest.mark.anyio


async def test_a_trained_candidate_gets_the_next_number_its_files_and_an_event(world: World) -> None:
    first, second = await world.trained(b"one"), await world.trained(b"two", system_prompt="Be kind.")
    assert (first.reference, second.reference) == ("support@1", "support@2")
    assert (second.kind, second.base_model, second.base_hash) == ("adapter", "tiny", BASE_HASH)
    assert second.system_prompt == "Be kind."
    ((digest, weight),) = second.adapters
    assert second.artefacts["gguf"]["sha256"] == digest
    assert weight == 1.0
    assert await world.blobs.get(world.workspace_id, second.artefacts["gguf"]["blob"]) == b"two"
    async with world.tx() as tx:
        topics = [row.topic for row in await tx.all(sa.select(events).where(events.c.topic == "version.registered"))]
        assert len(topics) == 3  # the base and both candidates
        done = await tx.all(sa.select(audit).where(audit.c.action == "version.registered"))
        assert [row.detail["version"] for row in done].count("support@2") == 1


async def test_a_run_that_is_told_of_twice_is_registered_once(world: World) -> None:
    event = CandidateTrained(run_id=(await world.result()).run_id)

    async def register() -> None:
        async with world.tx() as tx:
            await world.registry.register(tx, event)

    await asyncio.gather(register(), register(), register())
    async with world.tx() as tx:
        found = await world.registry.listed(tx, kind="adapter")
    assert [version.number for version in found.data] == [1]


async def test_candidates_at_the_same_time_get_different_numbers(world: World) -> None:
    await asyncio.gather(*(world.trained(bytes([place])) for place in range(4)))
    async with world.tx() as tx:
        found = await world.registry.listed(tx, name="support")
    assert sorted(version.number for version in found.data) == [1, 2, 3, 4]


async def test_a_damaged_missing_or_exchanged_file_is_refused_and_nothing_registered(
    world: World, tmp_path: Path
) -> None:
    damaged = await world.result(b"damaged")
    (path,) = (tmp_path / "blobs").glob(f"*/*/{damaged.gguf_blob}")
    path.write_bytes(b"DAMAGED")
    missing = await world.result(b"missing", safetensors_blob="0" * 64)
    exchanged = await world.result(b"exchanged", gguf_sha256="0" * 64)
    for result, error in ((damaged, Corrupt), (missing, NotFound), (exchanged, Invalid)):
        with pytest.raises(error):
            async with world.tx() as tx:
                await world.registry.register(tx, CandidateTrained(run_id=result.run_id))
    async with world.tx() as tx:
        assert (await world.registry.listed(tx, kind="adapter")).data == []


async def test_a_base_is_number_0_once_and_never_another_model(world: World) -> None:
    same = {"name": "tiny", "engine": "local", "base_model": "tiny"}
    async with world.tx() as tx:
        again = await world.registry.register_base(tx, **same, base_hash=BASE_HASH)
        assert again.id == world.base.id
        assert (again.kind, again.number, again.adapters) == ("base", 0, ())
        with pytest.raises(Conflict, match="another model"):
            await world.registry.register_base(tx, **same, base_hash="c" * 64)


async def test_a_version_is_found_by_id_number_and_alias(world: World) -> None:
    version = await world.trained()
    async with world.tx() as tx:
        await world.registry.set_alias(tx, "support", "best", "support@1")
        for reference in (str(version.id), version.id, "support@1", "support@best"):
            assert (await world.registry.get(tx, reference)).id == version.id
        for unknown in ("support@2", "support@worst", str(uuid4()), "support@999999999"):
            with pytest.raises(NotFound):
                await world.registry.get(tx, unknown)
        for wrong in ("support", "", "@1", "support@", "support@One", "a b@1", "x\0@1"):
            with pytest.raises(Invalid):
                await world.registry.get(tx, wrong)


async def test_versions_can_be_asked_for_by_their_ids(world: World) -> None:
    first, second, third = [await world.trained(bytes([place])) for place in range(3)]
    async with world.tx() as tx:
        found = await world.registry.listed(tx, ids=[first.id, third.id, uuid4()])
        assert ([each.id for each in found.data], found.next) == ([third.id, first.id], None)
        assert (await world.registry.listed(tx, ids=[second.id], kind="base")).data == []
        assert (await world.registry.listed(tx, ids=[])).data == []


async def test_aliases_move_and_go_but_live_is_moved_by_releases_alone(world: World) -> None:
    await world.trained(b"one")
    await world.trained(b"two")
    async with world.tx() as tx:
        _, before = await world.registry.set_alias(tx, "support", "best", "support@1")
        moved, after = await world.registry.set_alias(tx, "support", "best", "support@2")
        assert after > before
        assert await world.registry.aliases(tx, "support") == [moved]
        assert moved.version == "support@2"
        with pytest.raises(Invalid, match="no version of"):
            await world.registry.set_alias(tx, "support", "base", "tiny@0")
        with pytest.raises(Conflict, match="releases"):
            await world.registry.set_alias(tx, "support", "live", "support@1")
        with pytest.raises(Invalid, match="alias"):
            await world.registry.set_alias(tx, "support", "7", "support@1")
        assert await world.registry.drop_alias(tx, "support", "best") > after
        with pytest.raises(NotFound):
            await world.registry.drop_alias(tx, "support", "best")
        assert await world.registry.aliases(tx) == []


async def test_lineage_walks_to_the_inferences(world: World) -> None:
    version = await world.trained()
    asked = sorted(str(uuid4()) for _ in range(5))
    async with world.tx() as tx:
        data = Node("dataset_version", str(version.dataset_version_id))
        await link(tx, [*(Node("inference", each) for each in asked), Node("feedback", "f")], data)
        found = await world.registry.lineage(tx, "support@1", limit=3)
        assert [node.kind for node in found.ancestors] == ["run", "dataset_version"]
        assert found.ancestors[0].id == str(version.run_id)
        assert found.counts == {"inference": 5, "feedback": 1}
        rest = await world.registry.lineage(tx, str(version.id), after=found.inferences.next, limit=3)
    newest_first = [str(each) for each in (*found.inferences.data, *rest.inferences.data)]
    assert newest_first == asked[::-1]
    assert rest.inferences.next is None


async def test_the_snapshot_knows_every_name_of_a_version_in_its_workspace(world: World) -> None:
    version = await world.trained()
    async with world.tx() as tx:
        await world.registry.set_alias(tx, "support", "best", "support@1")
    async with system(world.database) as conn:
        targets = await load_targets(conn)
    names = ("support@1", "support@best", str(version.id), "tiny:support@1", "tiny:support@best")
    for name in names:
        target = targets[world.workspace_id, name]
        assert (target.version_id, target.engine, target.model) == (version.id, "local", "tiny")
        assert target.adapters == version.adapters
    assert targets[world.workspace_id, "tiny@0"].adapters == ()
    assert {workspace for workspace, _ in targets} == {world.workspace_id}


async def test_another_workspace_finds_nothing_of_it(world: World) -> None:
    version = await world.trained()
    async with world.tx(uuid4()) as tx:
        for reference in (str(version.id), "support@1", "tiny@0"):
            with pytest.raises(NotFound):
                await world.registry.get(tx, reference)
            with pytest.raises(NotFound):
                await world.registry.lineage(tx, reference)
            with pytest.raises(NotFound):
                await world.registry.set_alias(tx, "support", "mine", reference)
        assert (await world.registry.listed(tx)).data == []
        with pytest.raises(NotFound):
            await world.registry.drop_alias(tx, "support", "best")


@pytest.fixture
def adapters(world: World) -> AdapterService:
    return AdapterService(world.registry, world.engines, world.blobs)


async def brought(adapters: AdapterService, world: World, content: bytes, name: str = "mine") -> UUID:
    accepted = await adapters.accept(world.workspace_id, world.base, name, content)
    async with world.tx() as tx:
        return (await adapters.register(tx, world.base, name, accepted)).id


async def test_an_adapter_that_an_engine_accepts_is_registered_and_warm(world: World, adapters: AdapterService) -> None:
    cold = await world.trained(b"cold")
    version_id = await brought(adapters, world, b"GGUF of mine")
    async with world.tx() as tx:
        version = await world.registry.get(tx, "mine@1")
        states = await adapters.listed(tx, await adapters.warm(), name=None, after=None, limit=50)
        assert [node.id for node in (await world.registry.lineage(tx, "mine@1")).ancestors] == [str(world.base.id)]
    assert version.id == version_id
    assert (version.base_model, version.base_hash) == ("tiny", BASE_HASH)
    assert {state.version.id: state.engines for state in states.data} == {
        version_id: {"local": "warm", "other": "cold"},
        cold.id: {"local": "cold", "other": "cold"},
    }
    async with world.tx() as tx:
        mine = await adapters.listed(tx, {}, prefix="mi")
        assert [(state.version.id, state.engines) for state in mine.data] == [(version_id, {})]
    sizes = {state.version.id: state.bytes for state in states.data}
    assert sizes == {version_id: len(b"GGUF of mine"), cold.id: len(b"cold")}


async def test_a_refused_adapter_is_not_registered(
    world: World, adapters: AdapterService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid, match="GGUF"):
        await brought(adapters, world, b"PK\3\4 a zip file")
    for refusal in (Invalid("broken"), Conflict("of another base"), Unavailable("down")):
        world.engines.refusal = refusal
        with pytest.raises(type(refusal)):
            await brought(adapters, world, b"GGUF")
    world.engines.refusal = None
    with pytest.raises(Invalid, match="name"):
        await brought(adapters, world, b"GGUF", "a name")
    with pytest.raises(Invalid, match="base"):
        await adapters.accept(world.workspace_id, await world.trained(), "mine", b"GGUF")
    monkeypatch.setattr(adapters_module, "MAX_BYTES", 3)
    with pytest.raises(TooLarge):
        await brought(adapters, world, b"GGUF")
    async with world.tx() as tx:
        assert (await world.registry.listed(tx, name="mine")).data == []
