"""A gateway as it is run: on a real socket, with real keys and routes in a real database, before a fake engine."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import openai
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.core.errors import NotFound
from charkha.core.records import Closed, Opened, decode
from charkha.core.targets import VersionTarget
from charkha.govern import keyring
from charkha.govern.directory import Directory
from charkha.govern.keyring import Authenticator
from charkha.govern.keys import KeyService
from charkha.govern.limits import store as limit_store
from charkha.govern.limits.leases import Leases
from charkha.govern.limits.meter import Meter
from charkha.govern.prices import service as price_service
from charkha.kit import egress, spool, wire
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database, Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.kit.snapshot import Snapshots, wait_until_served
from charkha.serve import routes
from charkha.serve.caches.policy import CachePolicy
from charkha.serve.caches.process import CacheLimits
from charkha.serve.domain import Endpoint, Plan, Share
from charkha.serve.engines import llama_cpp
from charkha.serve.engines.models import find_model
from charkha.serve.gateway import Gateway, GatewayLimits
from charkha.serve.ports import Engine, EngineDeps
from charkha.serve.routing import drains
from charkha.serve.service import EndpointService
from charkha.serve.variants import VariantSpec
from charkha.testing.engine_process import TOKEN, running_engine
from charkha.testing.fake_engine import FakeEngine, FakeModel
from charkha.testing.serving import serving
from charkha.testing.tiny import make_tiny_gguf

LLAMA = "smollm2-135m-instruct"
BASE = VariantSpec(engine="local", model="tiny")


class NoVersions:
    """A registry without versions."""

    async def get(self, tx: Tx, reference: str | UUID) -> Any:
        """There is none."""
        raise NotFound(f"no version {reference}")


class Rig:
    """The gateway, what it stands on, and the ways to look at what it did."""

    def __init__(self, database: Database, jobs: Jobs, secrets: Secrets, directory: Path) -> None:
        self.database, self.secrets, self.directory = database, secrets, directory
        self.keys = KeyService(secrets)
        self.snapshots = Snapshots(database)
        self.authenticator = Authenticator(secrets, self.snapshots)
        self._events = EventLog(database, jobs)
        self.model, self.engine = FakeModel(), FakeEngine("")
        self.versions: dict[tuple[UUID, str], VersionTarget] = {}
        self.ensured: set[tuple[str, str, UUID, UUID | None]] = set()
        self.loading = False
        self.cache_limits = CacheLimits()
        self.url = self.key = self.other_key = ""
        self.workspace_id = self.other_id = UUID(int=0)

    async def start(self, stack: AsyncExitStack, limits: GatewayLimits, others: dict[str, Engine]) -> None:
        """Prepare the database, then serve engine and gateway. `others` are engines besides, by their models' names."""
        await self._people()
        self.endpoints = EndpointService(
            self._events, NoVersions(), {"local", *(each.name for each in others.values())}
        )
        self.snapshots.register("keys", keyring.load)
        self.snapshots.register(routes.ROUTES, routes.load)
        self.snapshots.register(routes.VERSIONS, self._versions)
        self.snapshots.register(drains.DRAINS, drains.load)
        self.snapshots.register(limit_store.LIMITS, limit_store.load)
        self.snapshots.register(price_service.PRICES, price_service.load)
        await self.snapshots.start()
        stack.push_async_callback(self.snapshots.stop)
        self.engine.address = await stack.enter_async_context(serving(self.model))
        self.gateway = Gateway(
            authenticator=self.authenticator,
            snapshots=self.snapshots,
            engines={"local": self.engine, **{engine.name: engine for engine in others.values()}},
            base_models={"tiny": ("local", "tiny"), **{each: (others[each].name, each) for each in others}},
            session_factory=lambda: wire.Session(allowed_hosts=["127.0.0.1"]),
            spool=spool.SpoolWriter(self.directory, "test"),
            secrets=self.secrets,
            limits=limits,
            ensure_adapter=self._ensure,
            meter=Meter(self.snapshots, Leases(self.database, "test")),
            drained=lambda: self.snapshots.get(drains.DRAINS),
            caches=self.cache_limits,
        )
        await self.gateway.start()
        stack.push_async_callback(self.gateway.stop)
        self.url = await stack.enter_async_context(serving(self.gateway)) + "/v1"

    async def _people(self) -> None:
        directory = Directory(self.database, self.keys)
        await directory.prepare()
        first = await directory.first_run()
        assert first is not None
        self.workspace_id, self.key = first.workspace_id, first.application.key
        async with self.database.begin("charkha_system") as conn:
            organisation_id = (await keyring.load(conn)).organisations[self.workspace_id]
        self.other_id = await directory.create_workspace(organisation_id, "other", "test")
        async with self.database.workspace(self.other_id, "test") as tx:
            self.other_key = (await self.keys.create(tx, name="other")).key

    async def _versions(self, conn: AsyncConnection) -> dict[tuple[UUID, str], VersionTarget]:
        return dict(self.versions)

    async def _ensure(self, engine: str, digest: str, workspace_id: UUID, version_id: UUID | None) -> None:
        assert self.model.held is not None
        assert not self.loading, "two loads of one adapter at a time"
        self.loading = True
        self.ensured.add((engine, digest, workspace_id, version_id))
        await asyncio.sleep(0.05)
        self.model.held.add(digest)
        self.loading = False

    def client(self, key: str | None = None) -> openai.AsyncOpenAI:
        """The official client, without its own retries."""
        return openai.AsyncOpenAI(base_url=self.url, api_key=key or self.key, max_retries=0)

    async def endpoint(
        self,
        name: str = "support",
        spec: VariantSpec = BASE,
        *,
        keeps_content: bool = True,
        cache: CachePolicy | None = None,
        workspace_id: UUID | None = None,
    ) -> Endpoint:
        """An endpoint that the gateway serves."""
        async with self.database.workspace(workspace_id or self.workspace_id, "test") as tx:
            made = await self.endpoints.create(tx, name=name, variant=spec, keeps_content=keeps_content, cache=cache)
        await wait_until_served(self.database, made.served_from or 0)
        return made

    async def candidate(self, endpoint: Endpoint, digest: str, share: int) -> Plan:
        """Give `share` per cent to a new variant with an adapter; the gateway serves the plan when this returns."""
        like = endpoint.variants[0].id
        async with self.database.workspace(self.workspace_id, "test") as tx:
            live = await self.endpoints.live(tx, endpoint.id)
            variant = await self.endpoints.add_variant(
                tx, endpoint.id, name=f"v{digest[:2]}", version_id=None, adapters=[(digest, 1.0)], like=like
            )
            shares = [Share(like, 100 - share), Share(variant.id, share)]
            plan = await self.endpoints.swap(tx, endpoint.id, expected_plan_id=live.id, shares=shares, reason="test")
        await wait_until_served(self.database, plan.served_from or 0)
        return plan

    def records(self) -> tuple[list[Opened], list[Closed]]:
        """What stands in the spool."""
        found = [decode(record) for path in spool.segments(self.directory) for record, _ in spool.read(path)]
        opened = [record for record in found if isinstance(record, Opened)]
        return opened, [record for record in found if isinstance(record, Closed)]

    def last(self) -> tuple[Opened, dict[str, Any] | None, Closed]:
        """The last request that was closed: its open record, the body in it, its close record."""
        opened, closed = self.records()
        first = next(record for record in opened if record.id == closed[-1].id)
        return first, msgspec.json.decode(first.request) if first.request else None, closed[-1]


@pytest.fixture
def limits() -> GatewayLimits:
    """What the gateway allows; tests that need others have a fixture of this name."""
    return GatewayLimits(request_seconds=10, engine_patience_seconds=2, drain_seconds=1)


@pytest.fixture
def cache_limits() -> CacheLimits:
    """The bytes of answers that the gateway keeps; tests that need others have a fixture of this name."""
    return CacheLimits()


@pytest.fixture(scope="module")
def llama_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a running llama.cpp with a miniature model."""
    home = tmp_path_factory.mktemp("llama")
    with running_engine(home, make_tiny_gguf(home / "tiny.gguf", find_model(None, home).path), name="llama"):
        yield home


@pytest.fixture
async def llama(llama_home: Path) -> AsyncIterator[dict[str, Engine]]:
    """The engine at `llama_home`, by the name of its model: what a module's `others` may return."""
    async with egress.session(allowed_hosts=["127.0.0.1"]) as session:
        yield {LLAMA: llama_cpp.build(llama_cpp.Config(name="llama"), EngineDeps(lambda: session, llama_home, TOKEN))}


@pytest.fixture
def others() -> dict[str, Engine]:
    """Engines besides the fake one, by the names of their models; tests that need any have a fixture of this name."""
    return {}


@pytest.fixture
async def rig(
    database: Database,
    jobs: Jobs,
    secrets_of_test: Secrets,
    tmp_path: Path,
    limits: GatewayLimits,
    others: dict[str, Engine],
    cache_limits: CacheLimits,
) -> AsyncIterator[Rig]:
    rig = Rig(database, jobs, secrets_of_test, tmp_path / "spool")
    rig.cache_limits = cache_limits
    async with AsyncExitStack() as stack:
        await rig.start(stack, limits, others)
        yield rig
