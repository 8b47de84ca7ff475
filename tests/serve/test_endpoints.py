"""Endpoints and plans on a real database: compare-and-swap under contention, tenancy, what is refused."""

import asyncio
from uuid import UUID, uuid4

import msgspec
import pytest
import sqlalchemy as sa

from charkha.core.errors import CharkhaError, Conflict, Invalid, NotFound
from charkha.govern.directory import Directory
from charkha.govern.keys import KeyService
from charkha.govern.tables import audit
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database, Tx
from charkha.kit.eventlog import EventLog, events
from charkha.kit.jobs import Jobs
from charkha.serve.composition import Composition
from charkha.serve.domain import Endpoint, Share
from charkha.serve.service import EndpointService
from charkha.serve.variants import BlendSpec, VariantSpec

pytestmark = pytest.mark.anyio
BASE = VariantSpec(engine="local", model="tiny", system_prompt="Be brief.", parameters={"temperature": 0})


class Version(msgspec.Struct):
    """A version as the registry has it."""

    id: UUID
    engine: str
    base_model: str
    adapters: list[tuple[str, float]]
    system_prompt: str | None = None


class Registry:
    """Versions in memory, by reference."""

    def __init__(self) -> None:
        self.known = {
            "a@1": Version(uuid4(), "local", "tiny", [("a" * 64, 1.0)]),
            "b@1": Version(uuid4(), "local", "tiny", [("b" * 64, 0.5)], "From b."),
            "other@1": Version(uuid4(), "local", "huge", [("c" * 64, 1.0)]),
        }

    async def get(self, tx: Tx, reference: str | UUID) -> Version:
        """The version of a reference."""
        if reference not in self.known:
            raise NotFound("no such version")
        return self.known[str(reference)]


@pytest.fixture
async def service(database: Database, jobs: Jobs, secrets_of_test: Secrets) -> EndpointService:
    await Directory(database, KeyService(secrets_of_test)).prepare()
    return EndpointService(EventLog(database, jobs), Registry(), {"local"})


async def made(service: EndpointService, database: Database, workspace_id: UUID, name: str = "support") -> Endpoint:
    async with database.workspace(workspace_id, "key:test") as tx:
        return await service.create(tx, name=name, variant=BASE, labels=["yes", "no"])


async def test_an_endpoint_begins_with_one_variant_that_has_everything(
    service: EndpointService, database: Database, workspace_id: UUID
) -> None:
    endpoint = await made(service, database, workspace_id)
    assert endpoint.labels == ["yes", "no"]
    assert endpoint.plan is not None
    assert (endpoint.plan.number, endpoint.plan.actor) == (1, "key:test")
    assert endpoint.plan.shares == [Share(endpoint.variants[0].id, 100)]
    async with database.workspace(workspace_id, "key:test") as tx:
        assert await service.get(tx, "support") == msgspec.structs.replace(endpoint, served_from=None)
        assert await service.resolve(tx, str(endpoint.id)) == endpoint.id
        assert [row.action for row in await tx.all(sa.select(audit))] == ["endpoint.created"]
        assert [row.topic for row in await tx.all(sa.select(events))] == ["plan.moved"]


async def test_a_name_is_taken_once_and_free_again_after_deletion(
    service: EndpointService, database: Database, workspace_id: UUID
) -> None:
    await made(service, database, workspace_id)
    with pytest.raises(Conflict, match="already"):
        await made(service, database, workspace_id)
    async with database.workspace(workspace_id, "key:test") as tx:
        await service.delete(tx, "support")
        with pytest.raises(NotFound):
            await service.get(tx, "support")
    await made(service, database, workspace_id)
    async with database.workspace(workspace_id, "key:test") as tx:
        assert len((await service.listed(tx)).data) == 1


async def test_of_two_concurrent_swaps_exactly_one_wins(
    service: EndpointService, database: Database, workspace_id: UUID
) -> None:
    endpoint = await made(service, database, workspace_id)
    baseline = endpoint.variants[0].id

    async def swap(share: int) -> int:
        async with database.workspace(workspace_id, f"key:{share}") as tx:
            candidate = await service.add_variant(
                tx, endpoint.id, name=f"c{share}", version_id=uuid4(), adapters=[("d" * 64, 1.0)], like=baseline
            )
            plan = await service.swap(
                tx,
                endpoint.id,
                expected_plan_id=endpoint.live_plan_id,
                shares=[Share(baseline, 100 - share), Share(candidate.id, share)],
                reason="race",
            )
            return plan.number

    results = await asyncio.gather(*(swap(share) for share in (1, 2, 3, 4)), return_exceptions=True)
    lost = [result for result in results if isinstance(result, Conflict)]
    assert sorted(str(result) for result in results if not isinstance(result, Exception)) == ["2"]
    assert len(lost) == 3
    async with database.workspace(workspace_id, "key:test") as tx:
        live = await service.live(tx, endpoint.id)
        assert all(str(live.id) in str(error) for error in lost)
        assert [plan.number for plan in (await service.plans(tx, "support")).data] == [2, 1]
        assert len((await service.get(tx, "support")).variants) == 2  # the losers' variants are rolled back


async def test_a_variant_like_another_copies_what_is_not_said(
    service: EndpointService, database: Database, workspace_id: UUID
) -> None:
    endpoint = await made(service, database, workspace_id)
    version_id = uuid4()
    async with database.workspace(workspace_id, "key:test") as tx:
        variant = await service.add_variant(
            tx, endpoint.id, name="v@2", version_id=version_id, adapters=[("d" * 64, 0.5)], like=endpoint.variants[0].id
        )
    assert (variant.engine, variant.model, variant.system_prompt) == ("local", "tiny", "Be brief.")
    assert variant.parameters == {"temperature": 0}
    assert [(each.digest, each.weight, each.version_id) for each in variant.adapters] == [("d" * 64, 0.5, version_id)]


async def test_adapters_are_named_by_versions_of_one_base(
    service: EndpointService, database: Database, workspace_id: UUID
) -> None:
    await made(service, database, workspace_id)
    blend = [BlendSpec("a@1", 0.5), BlendSpec("b@1", 2.0)]
    async with database.workspace(workspace_id, "key:test") as tx:
        mixed = await service.put_variant(tx, "support", VariantSpec(engine="local", model="tiny", adapters=blend))
        assert [(each.digest[0], each.weight) for each in mixed.adapters] == [("a", 0.5), ("b", 1.0)]
        whole = await service.put_variant(tx, "support", VariantSpec(name="b", version="b@1"))
        assert (whole.model, whole.system_prompt, whole.adapters[0].weight) == ("tiny", "From b.", 0.5)
        wrong = VariantSpec(engine="local", model="tiny", adapters=[BlendSpec("other@1")])
        with pytest.raises(Conflict, match="huge"):
            await service.put_variant(tx, "support", wrong)


@pytest.mark.parametrize(
    "spec",
    [
        VariantSpec(engine="elsewhere", model="tiny"),
        VariantSpec(engine="local", model="tiny", parameters={"temperature": 9}),
        VariantSpec(engine="local", model="tiny", parameters={"stop": "\0"}),
        VariantSpec(engine="local", model="tiny", parameters={"messages": []}),
        VariantSpec(engine="local", model="tiny", name="a\nb"),
    ],
)
async def test_variants_that_could_not_be_served_are_refused(
    service: EndpointService, database: Database, workspace_id: UUID, spec: VariantSpec
) -> None:
    async with database.workspace(workspace_id, "key:test") as tx:
        with pytest.raises(Invalid):
            await service.create(tx, name="support", variant=spec)


async def test_a_plan_takes_only_variants_of_its_own_endpoint(
    service: EndpointService, database: Database, workspace_id: UUID
) -> None:
    endpoint = await made(service, database, workspace_id)
    other = await made(service, database, workspace_id, "other")
    async with database.workspace(workspace_id, "key:test") as tx:
        for variant_id, wanted in ((other.variants[0].id, Invalid), (uuid4(), Invalid)):
            with pytest.raises(wanted):
                await service.swap(
                    tx,
                    endpoint.id,
                    expected_plan_id=endpoint.live_plan_id,
                    shares=[Share(variant_id, 100)],
                    reason="strange",
                )
        with pytest.raises(Conflict):  # another endpoint's live plan is not the one expected here
            await service.swap(
                tx,
                endpoint.id,
                expected_plan_id=other.live_plan_id,
                shares=[Share(endpoint.variants[0].id, 100)],
                reason="strange",
            )


async def test_another_workspace_reaches_nothing(
    service: EndpointService, database: Database, workspace_id: UUID
) -> None:
    endpoint = await made(service, database, workspace_id)
    async with database.workspace(uuid4(), "key:other") as tx:
        assert (await service.listed(tx)).data == []
        attempts = (
            service.get(tx, endpoint.id),
            service.get(tx, "support"),
            service.get(tx, "sup\0port"),
            service.live(tx, endpoint.id),
            service.plans(tx, endpoint.id),
            service.variant(tx, endpoint.variants[0].id),
            service.update(tx, "support", keeps_content=False),
            service.delete(tx, endpoint.id),
            service.swap(
                tx,
                endpoint.id,
                expected_plan_id=endpoint.live_plan_id,
                shares=[Share(endpoint.variants[0].id, 100)],
                reason="",
            ),
        )
        for attempt in attempts:
            with pytest.raises(NotFound):
                await attempt


async def test_a_blend_is_swapped_in_and_shown(
    service: EndpointService, database: Database, workspace_id: UUID
) -> None:
    endpoint = await made(service, database, workspace_id)
    composition = Composition(service, {})
    async with database.workspace(workspace_id, "key:test") as tx:
        parts = [BlendSpec("a@1"), BlendSpec("b@1")]
        swapped = await composition.swap(tx, "support", parts, name="ab", expected_plan_id=None, reason="try")
        assert swapped.plan.number == 2
        with pytest.raises(CharkhaError, match="number 2"):
            await composition.swap(
                tx, "support", parts, name="ab", expected_plan_id=endpoint.live_plan_id, reason="late"
            )
        uses = await composition.stats(tx, {"local": frozenset({"a" * 64})})
    assert [(use.digest[0], use.share, use.state) for use in uses] == [("a", 100, "warm"), ("b", 100, "cold")]
