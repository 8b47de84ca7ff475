"""Rolling back, from every state a release can be in, and over HTTP until each gateway process serves it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from charkha.core.errors import Conflict
from charkha.govern.access import Access, verify
from charkha.govern.directory import Directory
from charkha.govern.keyring import Authenticator, load
from charkha.govern.keys import KeyService
from charkha.govern.tables import organisations
from charkha.kit.crypto import Secrets
from charkha.kit.http import install_errors
from charkha.kit.snapshot import Snapshots
from charkha.kit.system import system
from charkha.release.registry.adapters import AdapterService
from charkha.release.registry.api import router as registry_routes
from charkha.release.rollouts.api import router as release_routes
from charkha.release.rollouts.domain import Rollback
from charkha.serve.domain import Share
from tests.release.world import BAD, GOOD, World

pytestmark = pytest.mark.anyio


async def rolled_back(world: World) -> Rollback:
    async with world.tx() as tx:
        return await world.rollouts.rollback(tx, world.endpoint.id, "it is wrong")


async def test_there_is_nothing_to_go_back_to_before_the_first_release(world: World) -> None:
    before = await world.live()
    with pytest.raises(Conflict, match="nothing to go back to"):
        await rolled_back(world)
    waiting = await world.scored(await world.trained())
    with pytest.raises(Conflict, match="nothing to go back to"):
        await rolled_back(world)
    assert (await world.release(waiting.id)).rollout.status == "preparing"
    assert await world.live() == before


async def test_a_running_rollout_ends_and_its_baseline_has_everything(world: World) -> None:
    rollout = await world.judged(await world.running(), GOOD, BAD)
    done = await rolled_back(world)
    assert (done.previous_plan_id, done.candidate) == (rollout.plan_id, "support@1")
    assert (await world.live()).id == done.plan_id
    assert await world.shares() == {rollout.baseline_variant_id: 100}
    assert (await world.release(rollout.id)).rollout.status == "rolled_back"
    with pytest.raises(Conflict):
        await rolled_back(world)


async def test_each_rollback_goes_one_release_further_back(world: World) -> None:
    first = await world.promoted(b"one")
    second = await world.promoted(b"two")
    assert await world.alias() == "support@2"
    await rolled_back(world)
    assert await world.shares() == {first.candidate_variant_id: 100} == {second.baseline_variant_id: 100}
    assert await world.alias() == "support@1"
    await rolled_back(world)
    assert await world.shares() == {first.baseline_variant_id: 100}
    assert await world.alias() == "tiny@0"
    with pytest.raises(Conflict):
        await rolled_back(world)
    again = await world.promoted(b"three")
    assert await world.alias() == again.candidate == "support@3"


async def test_a_rollback_ends_what_is_in_preparation(world: World) -> None:
    await world.promoted(b"one")
    waiting = await world.scored(await world.trained(b"two"))
    assert waiting.status == "preparing"
    await rolled_back(world)
    assert (await world.release(waiting.id)).rollout.status == "superseded"
    before = await world.live()
    await world.prepare(world.workspace_id, rollout_id=str(waiting.id))
    assert await world.live() == before


async def test_a_superseded_rollout_can_be_rolled_back_while_its_candidate_has_traffic(world: World) -> None:
    rollout = await world.running()
    assert rollout.candidate_variant_id is not None
    async with world.tx() as tx:
        by_hand = [Share(rollout.baseline_variant_id, 50), Share(rollout.candidate_variant_id, 50)]
        await world.endpoints.swap(
            tx, world.endpoint.id, expected_plan_id=rollout.plan_id, shares=by_hand, reason="by hand"
        )
    await world.tick()
    await rolled_back(world)
    assert await world.shares() == {rollout.baseline_variant_id: 100}


async def test_a_rollback_amid_ticks_leaves_the_baseline_live(world: World) -> None:
    rollout = await world.running()
    for _ in range(12):
        world.outcomes.add(rollout.baseline_variant_id, BAD, times=9)
        world.outcomes.add(rollout.candidate_variant_id, GOOD)
    await asyncio.gather(world.tick(), rolled_back(world), world.tick(), world.tick())
    await world.tick()
    assert await world.shares() == {rollout.baseline_variant_id: 100}
    assert (await world.release(rollout.id)).rollout.status == "rolled_back"


async def test_two_rollbacks_at_once_go_back_once(world: World) -> None:
    rollout = await world.running()
    results = await asyncio.gather(rolled_back(world), rolled_back(world), return_exceptions=True)
    assert sum(isinstance(result, Rollback) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 1
    assert await world.shares() == {rollout.baseline_variant_id: 100}


class Site:
    """The station's routes, keys for them, and one gateway process that follows the snapshot."""

    def __init__(self, app: FastAPI, keys: dict[str, str]) -> None:
        self._transport, self.keys = httpx.ASGITransport(app), keys

    async def call(self, method: str, path: str, key: str = "owner", **options: object) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[key]}"} if key in self.keys else {}
        async with httpx.AsyncClient(transport=self._transport, base_url="http://test", headers=headers) as client:
            return await client.request(method, path, **options)  # type: ignore[arg-type]


@pytest.fixture
async def site(world: World, secrets_of_test: Secrets) -> AsyncIterator[Site]:
    keys = KeyService(secrets_of_test)
    made = {"owner": world.first.operator.key}
    async with world.tx() as tx:
        made["developer"] = (await keys.create(tx, name="developer")).key
    async with system(world.database) as conn:
        organisation_id = (await conn.execute(sa.select(organisations.c.id))).scalar_one()
    other = await Directory(world.database, keys).create_workspace(organisation_id, "other", "test")
    async with world.tx(other) as tx:
        made["stranger"] = (await keys.create(tx, name="stranger", role="owner")).key
    snapshots = Snapshots(world.database)
    snapshots.register("keys", load)
    await snapshots.start()
    access = Access(Authenticator(secrets_of_test, snapshots), world.database)
    app = FastAPI()
    install_errors(app)
    adapters = AdapterService(world.registry, world.engines, world.blobs)
    app.include_router(registry_routes(world.registry, adapters, access, world.database))
    app.include_router(release_routes(world.rollouts, world.endpoints, access, world.database))
    verify(app.routes)
    yield Site(app, made)
    await snapshots.stop()


async def test_a_rollback_over_http_tells_what_each_gateway_serves(world: World, site: Site) -> None:
    rollout = await world.running()
    answer = await site.call("POST", "/endpoints/support/rollback", json={"reason": "it is wrong"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert UUID(told["rollback"]["rollout_id"]) == rollout.id
    assert len(told["gateways"]) == 1
    assert told["gateways"][0]["version"] >= told["rollback"]["version"]
    assert told["milliseconds"] > 0
    assert await world.shares() == {rollout.baseline_variant_id: 100}
    again = await site.call("POST", f"/endpoints/{world.endpoint.id}/rollback")
    assert again.status_code == 409
    assert again.json()["error"]["remedy"]
    unknown = await site.call("POST", "/endpoints/nothing/rollback")
    assert unknown.status_code == 404


async def test_releases_and_versions_over_http(world: World, site: Site) -> None:
    await world.trained()
    body = {"endpoint": "support", "version": "support@1", "steps": [5, 100], "alpha": 0.01, "reason": "try"}
    refused = await site.call("POST", "/releases", key="developer", json=body)
    assert refused.status_code == 403
    begun = await site.call("POST", "/releases", json=body)
    assert begun.status_code == 201, begun.text
    usual = world.rollouts.rules
    assert begun.json()["rules"] == {"alpha": 0.01, "minimum": usual.minimum, "slow_ms": usual.slow_ms}
    release_id = begun.json()["id"]
    await world.prepare(world.workspace_id, rollout_id=release_id)
    listed = (await site.call("GET", "/releases?endpoint=support&status=running", key="developer")).json()
    assert [each["id"] for each in listed["data"]] == [release_id]
    shown = (await site.call("GET", f"/releases/{release_id}", key="developer")).json()
    assert [each["action"] for each in shown["decisions"]] == ["prepare", "start"]
    promoted = await site.call("POST", f"/releases/{release_id}/promote", json={"reason": "now"})
    assert promoted.json()["status"] == "promoted"
    cancelled = await site.call("POST", f"/releases/{release_id}/cancel", json={"reason": "no"})
    assert cancelled.status_code == 409
    version = (await site.call("GET", "/versions/support@live", key="developer")).json()
    assert (version["name"], version["number"]) == ("support", 1)
    lineage = (await site.call("GET", f"/versions/{version['id']}/lineage", key="developer")).json()
    assert lineage["ancestors"][0]["kind"] == "run"
    alias = await site.call("PUT", "/aliases/support/best", json={"version": "support@1"})
    assert alias.json()["alias"]["version"] == "support@1"
    assert (await site.call("GET", "/aliases", key="developer")).json()[0]["alias"] == "best"
    assert (await site.call("DELETE", "/aliases/support/best")).status_code == 200
    names = [each["name"] for each in (await site.call("GET", "/versions", key="developer")).json()["data"]]
    assert names == ["support", "tiny"]


async def test_what_is_asked_of_one_version_over_http(world: World, site: Site, tmp_path: Path) -> None:
    first, second = await world.trained(b"first"), await world.trained(b"second!")
    for name, version in (("good", first), ("best", second)):
        await site.call("PUT", f"/aliases/support/{name}", json={"version": str(version.id)})
    pointing = (await site.call("GET", f"/aliases?version_id={second.id}", key="developer")).json()
    assert [(each["alias"], each["version"]) for each in pointing] == [("best", "support@2")]
    of_run = (await site.call("GET", f"/versions?run_id={first.run_id}", key="developer")).json()["data"]
    assert [each["id"] for each in of_run] == [str(first.id)]
    files = (await site.call("GET", "/versions/support@2/files", key="developer")).json()
    assert [(each["name"], each["bytes"]) for each in files] == [("config", 2), ("gguf", 7), ("safetensors", 19)]
    assert files[1]["sha256"] == second.adapters[0][0]
    next(tmp_path.glob(f"**/{files[1]['blob']}")).unlink()
    gone = (await site.call("GET", f"/versions/{second.id}/files", key="developer")).json()
    assert [each["bytes"] for each in gone] == [2, None, 19]
    assert (await site.call("GET", f"/versions/{second.id}/files", key="stranger")).status_code == 404


async def test_releases_are_found_by_their_candidate_over_http(world: World, site: Site) -> None:
    first, second = await world.trained(b"first"), await world.trained(b"second")
    declined = [await world.scored(version, "worse") for version in (first, second)]

    async def candidates(reference: str) -> list[str]:
        answer = await site.call("GET", f"/releases?candidate={reference}", key="developer")
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["data"]]

    assert await candidates("support@1") == [str(declined[0].id)]
    assert await candidates(str(second.id)) == [str(declined[1].id)]
    assert await candidates("tiny@0") == []
    for reference, status in (("support@9", 404), ("support", 400)):
        assert (await site.call("GET", f"/releases?candidate={reference}", key="developer")).status_code == status


async def test_an_adapter_of_ones_own_over_http(world: World, site: Site) -> None:
    path = "/adapters?name=mine&base=tiny@0"
    made = await site.call("POST", path, key="developer", content=b"GGUF of mine")
    assert made.status_code == 201, made.text
    listed = (await site.call("GET", "/adapters", key="developer")).json()["data"]
    assert [(each["version"]["name"], each["engines"]["local"]) for each in listed] == [("mine", "warm")]
    refused = await site.call("POST", path, key="developer", content=b"pickle")
    assert refused.status_code == 400
    assert "GGUF" in refused.json()["error"]["message"]


async def test_a_key_of_another_workspace_reaches_nothing_over_http(world: World, site: Site) -> None:
    rollout = await world.running()
    body = {"endpoint": str(world.endpoint.id), "version": str(rollout.candidate_version_id)}
    calls: list[tuple[str, str, dict[str, str] | None]] = [
        ("GET", f"/releases/{rollout.id}", None),
        ("POST", f"/releases/{rollout.id}/promote", {"reason": "mine"}),
        ("POST", f"/releases/{rollout.id}/cancel", {"reason": "mine"}),
        ("POST", f"/endpoints/{world.endpoint.id}/rollback", None),
        ("POST", "/endpoints/support/rollback", None),
        ("POST", "/releases", body),
        ("GET", "/releases?endpoint=support", None),
        ("GET", f"/versions/{rollout.candidate_version_id}", None),
        ("GET", f"/versions/{rollout.candidate_version_id}/lineage", None),
        ("GET", "/versions/support@1", None),
        ("PUT", "/aliases/support/best", {"version": str(rollout.candidate_version_id)}),
    ]
    for method, path, content in calls:
        assert (await site.call(method, path, key="stranger", json=content)).status_code == 404, path
    for path in ("/releases", "/versions", "/adapters"):
        assert (await site.call("GET", path, key="stranger")).json()["data"] == []
    assert (await world.release(rollout.id)).rollout == rollout


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/releases", {"endpoint": "support", "version": "support@1", "steps": ["x"]}),
        ("POST", "/releases", {"endpoint": "support", "version": "support@1", "other": 1}),
        ("POST", "/releases", {"endpoint": "support", "version": "support@1", "alpha": 2}),
        ("GET", "/releases/7", None),
        ("GET", "/releases?status=odd", None),
        ("GET", "/versions/odd", None),
        ("PUT", "/aliases/support/7", {"version": "tiny@0"}),
    ],
)
async def test_wrong_input_is_told_and_not_a_fault(
    site: Site, method: str, path: str, body: dict[str, object] | None
) -> None:
    answer = await site.call(method, path, json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]
