"""The routes of caches: settings with their bounds, what caches did, and forgetting, over HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from charkha.app.bridges import cache_figures
from charkha.govern.access import Access, verify
from charkha.kit.http import install_errors
from charkha.observe.shipper import Shipper
from charkha.observe.usage import store as usage
from charkha.serve import api
from charkha.serve.caches import api as caches_api

from .conftest import Rig
from .test_caches import ask, said
from .test_limits import price

pytestmark = pytest.mark.anyio
BASE = {"engine": "local", "model": "tiny"}
TODAY = datetime.now(UTC).date()


@pytest.fixture
async def http(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the control plane, with the key of an admin."""
    app = FastAPI()
    install_errors(app)
    access = Access(rig.authenticator, rig.database)
    routers = [
        api.router(rig.endpoints, {"local": rig.engine}, access, rig.database),
        caches_api.router(rig.endpoints, cache_figures, access, rig.database),
    ]
    for router in routers:
        verify(router.routes)
        app.include_router(router)
    headers = {"authorization": f"Bearer {rig.key}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client:
        yield client


async def test_a_cache_is_set_changed_and_ended(http: httpx.AsyncClient, rig: Rig) -> None:
    body: dict[str, Any] = {"name": "support", "variant": BASE, "cache": {"seconds": 60}}
    made = (await http.post("/endpoints", json=body)).json()
    whole = {"seconds": 60, "max_temperature": 0.3, "tools": False, "semantic": None}
    assert made["cache"] == (await http.get("/endpoints/support")).json()["cache"] == whole
    assert [said(await ask(rig))[1] for _ in range(2)] == ["miss", "hit"]
    kept = await http.patch("/endpoints/support", json={"keeps_content": False})
    assert (kept.json()["keeps_content"], kept.json()["cache"]) == (False, whole)
    assert said(await ask(rig))[1] == "hit", "what is said of the log does not concern the cache"
    changed = await http.patch("/endpoints/support", json={"cache": {"seconds": 90, "tools": True}})
    assert changed.json()["cache"] == {**whole, "seconds": 90, "tools": True}
    assert changed.json()["keeps_content"] is False
    assert said(await ask(rig))[1] == "miss"
    ended = await http.patch("/endpoints/support", json={"cache": None})
    assert ended.json()["cache"] is None
    assert said(await ask(rig))[1] is None


@pytest.mark.parametrize(
    ("cache", "param"),
    [
        ({"seconds": 0}, "cache.seconds"),
        ({"seconds": 60, "max_temperature": 3}, "cache.max_temperature"),
        ({"seconds": 60, "semantic": {"engine": "none", "model": "m"}}, "cache.semantic.engine"),
        ({"seconds": 60, "semantic": {"engine": "local", "model": "m", "threshold": 0.1}}, "cache.semantic.threshold"),
        ({"seconds": 60, "colour": "red"}, None),
        ({}, None),
    ],
)
async def test_a_cache_that_cannot_be_is_refused(
    http: httpx.AsyncClient, rig: Rig, cache: dict[str, Any], param: str | None
) -> None:
    await rig.endpoint()
    for answer in (
        await http.post("/endpoints", json={"name": "other", "variant": BASE, "cache": cache}),
        await http.patch("/endpoints/support", json={"cache": cache}),
    ):
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["error"]["remedy"]
        assert param is None or answer.json()["error"]["param"] == param
    nothing = await http.patch("/endpoints/support", json={})
    assert (nothing.status_code, "cache" in nothing.json()["error"]["remedy"]) == (400, True)
    assert [each["name"] for each in (await http.get("/endpoints")).json()["data"]] == ["support"]


async def shipped(rig: Rig) -> None:
    """Everything that the gateway did is in the log."""
    await rig.gateway.stop()
    shipper = Shipper(rig.database, rig.directory.parent)
    await shipper.ship_once()
    shipper.close()


async def test_what_caches_did_is_told_and_forgotten(http: httpx.AsyncClient, rig: Rig) -> None:
    await rig.endpoint()
    endpoint = await rig.endpoint("cached")
    await http.patch("/endpoints/cached", json={"cache": {"seconds": 60}})
    await price(rig, 1_000_000, 2_000_000)
    for text in ("a", "a", "b", "a"):
        await ask(rig, text, model="cached")
    for _ in range(2):
        cleared = await http.post("/caches/clear", json={"endpoint": "cached"})
        assert cleared.json()["gateways"], cleared.text
        assert said(await ask(rig, "a", model="cached"))[1] == "miss"
        await http.post("/caches/clear", json={})
    assert said(await ask(rig, "a", model="cached"))[1] == "miss"
    assert (await http.post("/caches/clear", json={"endpoint": "none"})).status_code == 404
    await ask(rig, "a")
    await shipped(rig)
    told = (await http.get("/caches")).json()["data"]
    assert [(each["endpoint"], each["hits"], each["misses"]) for each in told] == [("cached", 2, 5), ("support", 0, 0)]
    assert told[0]["hit_rate"] == pytest.approx(2 / 7)
    assert (told[1]["hit_rate"], told[1]["cache"], told[1]["saved"]) == (None, None, {})
    assert told[0]["cache"]["seconds"] == 60
    assert told[0]["saved"] == {"EUR": 2 * (7 + 2 * 2)}
    assert told[0]["id"] == str(endpoint.id)
    first = (await http.get("/caches", params={"limit": 1})).json()
    assert (len(first["data"]), first["next"]) == (1, told[0]["id"])
    old = (await http.get("/caches", params={"since": "2020-01-01", "until": "2020-01-02"})).json()["data"]
    assert [each["hits"] for each in old] == [0, 0]
    assert (await http.get("/caches", params={"since": "2020-01-02", "until": "2020-01-01"})).status_code == 400
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        (row,) = await usage.sums(tx, ["model"], TODAY, TODAY, limit=10, model="cached")
    assert (row.requests, row.cached, row.missed, row.saved) == (7, 2, 5, 22)
    assert (row.prompt_tokens, row.cost) == (5 * 7, 5 * 11), "an answer that is given again is no usage"
