"""Engines taken out of service: at the gateway, over REST, from the command line; and what gateways tell of engines."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import pytest
from click.testing import CliRunner, Result
from fastapi import FastAPI

from charkha.app.cli.providing import engines
from charkha.core.errors import NotFound
from charkha.govern.access import Access
from charkha.kit.http import install_errors
from charkha.kit.snapshot import newest, wait_until_served
from charkha.serve.gateway import GatewayLimits
from charkha.serve.routing import api, drains
from charkha.serve.routing.domain import Alternative
from charkha.serve.variants import VariantSpec
from charkha.testing.serving import serving
from tests.serve.conftest import Rig
from tests.serve.routing.conftest import Faulty

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello there"}]


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(request_seconds=5, engine_patience_seconds=1, drain_seconds=1)


async def ask(rig: Rig, model: str) -> tuple[int, Any, Any]:
    body = {"model": model, "messages": HELLO}
    key = {"authorization": f"Bearer {rig.key}"}
    async with (
        aiohttp.ClientSession(headers=key) as http,
        http.post(rig.url + "/chat/completions", json=body) as answer,
    ):
        return answer.status, answer.headers, await answer.json()


@asynccontextmanager
async def drained(rig: Rig, engine: str) -> AsyncIterator[drains.Drains]:
    """Drain an engine as the routes do, and let it serve again."""
    service = drains.Drains({"local", "spare"})
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        version = await service.drain(tx, engine)
    await wait_until_served(rig.database, version)
    yield service
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        version = await service.resume(tx, engine)
    await wait_until_served(rig.database, version)


async def test_a_drained_engine_gets_nothing_new_and_ends_what_it_began(rig: Rig, second: Faulty) -> None:
    spare = Alternative(engine="spare", model="spare-model")
    await rig.endpoint(spec=VariantSpec(engine="local", model="tiny", alternatives=[spare]))
    rig.model.pause = 0.5
    running = asyncio.create_task(ask(rig, "support"))
    while not rig.model.running:
        await asyncio.sleep(0.005)
    async with drained(rig, "local"):
        assert (await running)[0] == 200
        status, headers, _ = await ask(rig, "support")
        assert (status, headers["x-charkha-engine"], headers["x-charkha-degraded"]) == (200, "spare", "drained")
        status, headers, told = await ask(rig, "tiny")
        assert (status, told["error"]["code"]) == (503, "engine_drained")
        assert headers["retry-after"]
        assert "charkha engines resume local" in told["error"]["message"]
        async with drained(rig, "spare"):
            assert (await ask(rig, "support"))[2]["error"]["code"] == "engine_drained"
        assert len(rig.model.requests) == 1
    rig.model.pause = 0
    assert (await ask(rig, "support"))[1]["x-charkha-engine"] == "local"


async def test_an_engine_that_is_not_there_cannot_be_drained(rig: Rig) -> None:
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        with pytest.raises(NotFound, match="There are: local, spare"):
            await drains.Drains(["local", "spare"]).drain(tx, "nowhere")


async def test_gateways_tell_what_they_know_over_rest_and_on_the_command_line(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.snapshots.tell(rig.gateway.health.told)
    await ask(rig, "tiny")
    await rig.snapshots.refresh()
    keys = {}
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        for role in ("owner", "viewer"):
            keys[role] = (await rig.keys.create(tx, name=role, role=role)).key
    await wait_until_served(rig.database, await newest(rig.database))
    app, service = FastAPI(), drains.Drains(["local", "spare"])
    app.include_router(api.router(service, Access(rig.authenticator, rig.database), rig.database))
    install_errors(app)

    @app.get("/status")
    async def status() -> dict[str, Any]:
        return {"engines": {"local": {}, "spare": {}}}

    async with serving(app) as address:
        async with httpx.AsyncClient(base_url=address, headers={"authorization": f"Bearer {keys['viewer']}"}) as client:
            (gateway,) = (await client.get("/engines/local/state")).json()["gateways"]
            assert (gateway["breaker"], gateway["pending"], gateway["first_byte_ms"] > 0) == ("closed", 0, True)
            assert (await client.get("/engines/nowhere/state")).status_code == 404
            assert (await client.post("/engines/local/drain")).status_code == 403
        monkeypatch.setenv("CHARKHA_URL", address)
        monkeypatch.setenv("CHARKHA_API_KEY", keys["owner"])

        async def run(*arguments: str) -> Result:
            return await asyncio.to_thread(CliRunner().invoke, engines, arguments)

        made = json.loads((await run("drain", "local", "--json")).output)
        assert (made["drained"], made["drained_by"][:4]) == (True, "key:")
        assert "breaker" in (await run("states")).output
        shown = {each["name"]: each for each in json.loads((await run("states", "--json")).output)}
        assert (shown["local"]["drained"], shown["spare"]["drained"]) == (True, False)
        assert "local" in (await run("state", "local")).output
        again = json.loads((await run("drain", "local", "--json")).output)
        assert again["drained_at"] == made["drained_at"], "to drain again changes nothing"
        assert json.loads((await run("resume", "local", "--json")).output)["drained"] is False
    async with rig.database.begin("charkha_system") as conn:
        actions = [row.action for row in await conn.exec_driver_sql("SELECT action FROM audit ORDER BY id")]
    assert [each for each in actions if each.startswith("engine.")] == ["engine.drained", "engine.resumed"]
