"""The routes of endpoints and blends over HTTP: who may, what is refused, and that gateways serve it on return."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from charkha.govern.access import Access, verify
from charkha.kit.http import install_errors
from charkha.serve import api

from .conftest import Rig

pytestmark = pytest.mark.anyio
BASE = {"engine": "local", "model": "tiny"}


@pytest.fixture
async def http(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the control plane, with the key of an admin."""
    app = FastAPI()
    install_errors(app)
    router = api.router(rig.endpoints, {"local": rig.engine}, Access(rig.authenticator, rig.database), rig.database)
    verify(router.routes)
    app.include_router(router)
    assert app.openapi()["paths"]
    headers = {"authorization": f"Bearer {rig.key}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client:
        yield client


async def test_an_endpoint_can_be_called_as_soon_as_it_is_made(http: httpx.AsyncClient, rig: Rig) -> None:
    made = await http.post("/endpoints", json={"name": "support", "labels": ["a", "b"], "variant": BASE})
    assert made.status_code == 201
    async with rig.client() as client:
        messages = [{"role": "user", "content": "hello"}]
        await client.chat.completions.create(model="support", messages=messages)
        assert rig.last()[1] is not None
        changed = await http.patch("/endpoints/support", json={"keeps_content": False})
        assert changed.json()["keeps_content"] is False
        await client.chat.completions.create(model="support", messages=messages)
        assert rig.last()[1] is None
        assert [each["name"] for each in (await http.get("/endpoints")).json()["data"]] == ["support"]
        gone = await http.delete("/endpoints/support")
        assert gone.json()["gateways"][0]["version"] >= changed.json()["served_from"]
        assert [model.id async for model in client.models.list()] == ["tiny"]
    assert (await http.get("/endpoints/support")).status_code == 404


async def test_a_plan_is_moved_by_who_saw_the_live_one(http: httpx.AsyncClient, rig: Rig) -> None:
    made = (await http.post("/endpoints", json={"name": "support", "variant": BASE})).json()
    second = (await http.post("/endpoints/support/variants", json={**BASE, "name": "second"})).json()
    shares = [{"variant_id": made["variants"][0]["id"], "share": 90}, {"variant_id": second["id"], "share": 10}]
    body = {"expected_plan_id": made["live_plan_id"], "shares": shares}
    moved = await http.put("/endpoints/support/plan", json=body)
    assert (moved.status_code, moved.json()["number"], moved.json()["previous_id"]) == (200, 2, made["live_plan_id"])
    late = await http.put("/endpoints/support/plan", json=body)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "plan_moved")
    assert moved.json()["id"] in late.json()["error"]["message"]
    assert [each["number"] for each in (await http.get("/endpoints/support/plans")).json()["data"]] == [2, 1]
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        developer = (await rig.keys.create(tx, name="dev", role="developer")).key
    await rig.snapshots.refresh()
    denied = await http.put("/endpoints/support/plan", json=body, headers={"authorization": f"Bearer {developer}"})
    assert denied.status_code == 403


async def test_live_variants_are_told_apart_from_those_that_were(http: httpx.AsyncClient) -> None:
    made = (await http.post("/endpoints", json={"name": "support", "variant": BASE})).json()
    await http.post("/endpoints", json={"name": "other", "variant": BASE})
    names = ["second", "third", "fourth"]
    added = [(await http.post("/endpoints/support/variants", json={**BASE, "name": name})).json() for name in names]
    shares = [{"variant_id": added[2]["id"], "share": 60}, {"variant_id": added[0]["id"], "share": 40}]
    body = {"expected_plan_id": made["live_plan_id"], "shares": shares}
    moved = (await http.put("/endpoints/support/plan", json=body)).json()
    live = (await http.get("/endpoints/support?variants=live")).json()
    assert (live["plan"]["id"], live["plan"]["shares"]) == (moved["id"], shares)
    assert [each["name"] for each in live["variants"]] == ["fourth", "second"]
    whole = (await http.get("/endpoints/support")).json()
    assert [each["name"] for each in whole["variants"]] == ["base", *names]
    listed = (await http.get("/endpoints?variants=live")).json()["data"]
    assert [each["name"] for each in listed] == ["other", "support"]
    assert listed[1] == live
    assert [(each["plan"], each["variants"]) for each in (await http.get("/endpoints")).json()["data"]] == 2 * [
        (None, [])
    ]
    first = (await http.get("/endpoints/support/variants?limit=3")).json()
    rest = (await http.get(f"/endpoints/support/variants?after={first['next']}")).json()
    assert [each["name"] for each in first["data"] + rest["data"]] == [*names[::-1], "base"]
    ids = [added[0]["id"], added[2]["id"], str(uuid4())]
    some = (await http.get("/endpoints/support/variants", params={"id": ids})).json()
    assert [each["name"] for each in some["data"]] == ["fourth", "second"]
    assert (await http.get("/endpoints/other/variants", params={"id": ids})).json()["data"] == []
    assert (rest["next"], (await http.get("/endpoints/none/variants")).status_code) == (None, 404)
    assert (await http.get("/endpoints/support?variants=some")).status_code == 422


BAD: list[tuple[dict[str, Any], int]] = [
    ({"name": "a b", "variant": BASE}, 400),
    ({"name": "a", "variant": {**BASE, "engine": "x"}}, 400),
    ({"name": "a", "variant": {"version": "none@1"}}, 404),
    ({"name": "a", "variant": {**BASE, "adapters": [{"digest": "a" * 64}]}}, 422),
    ({"name": "a", "variant": {**BASE, "parameters": {"temperature": 99}}}, 400),
    ({"name": "a"}, 422),
    ({"name": "a", "variant": BASE, "surprise": 1}, 422),
]


async def test_bad_endpoints_are_refused(http: httpx.AsyncClient) -> None:
    for body, status in BAD:
        answer = await http.post("/endpoints", json=body)
        assert (answer.status_code, bool(answer.json()["error"]["message"])) == (status, True), body
    assert (await http.get("/endpoints")).json() == {"data": [], "next": None}


async def test_another_workspace_finds_nothing(http: httpx.AsyncClient, rig: Rig) -> None:
    made = (await http.post("/endpoints", json={"name": "support", "variant": BASE})).json()
    headers = {"authorization": f"Bearer {rig.other_key}"}
    for name in ("support", made["id"], str(uuid4())):
        assert (await http.get(f"/endpoints/{name}", headers=headers)).status_code == 404
        assert (await http.delete(f"/endpoints/{name}", headers=headers)).status_code == 404
        assert (await http.get(f"/endpoints/{name}/plans", headers=headers)).status_code == 404
    assert (await http.get("/composition/stats", headers=headers)).json() == []


async def test_a_blend_can_be_taken_away(http: httpx.AsyncClient, rig: Rig) -> None:
    endpoint = await rig.endpoint()
    await rig.candidate(endpoint, "e" * 64, 100)
    (use,) = (await http.get("/composition/stats")).json()
    assert (use["digest"], use["share"], use["state"]) == ("e" * 64, 100, "cold")
    assert (await http.get("/composition/stats?endpoint=support")).json() == [use]
    await http.post("/endpoints", json={"name": "other", "variant": BASE})
    assert (await http.get("/composition/stats?endpoint=other")).json() == []
    assert (await http.get("/composition/stats?endpoint=none")).status_code == 404
    swapped = await http.post("/composition/swap", json={"endpoint": "support", "adapters": [], "name": "bare"})
    assert (swapped.status_code, swapped.json()["plan"]["number"]) == (200, 3)
    assert (await http.get("/composition/stats")).json() == []
    async with rig.client() as client:
        answer = await client.chat.completions.create(model="support", messages=[{"role": "user", "content": "hi"}])
    assert answer.choices[0].message.content == "echo: hi"
