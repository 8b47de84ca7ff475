"""Every route of the product, against nobody, a viewer, and another workspace's key: on the real wiring and database."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi.routing import APIRoute

from charkha.app import settings
from charkha.app.installation import Installation
from charkha.app.serving import gateway, routers
from charkha.app.wiring import Wiring
from charkha.govern.access import permission_of
from charkha.govern.permissions import ALL, ROLES
from charkha.kit.db import Database
from tests.conftest import Urls

pytestmark = pytest.mark.anyio

OPEN = {"/healthz", "/readyz", "/metrics"}
GATEWAY = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
]


class World(NamedTuple):
    """The running application and keys of two workspaces."""

    client: httpx.AsyncClient
    routes: list[APIRoute]
    owner: str
    viewer: str
    other: str
    workspace_id: UUID


@asynccontextmanager
async def _running(installation: Installation) -> AsyncIterator[World]:
    wiring = Wiring(installation)
    await wiring.directory.prepare()
    first = await wiring.directory.first_run()
    assert first is not None
    app = gateway(installation)
    await app._start()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        owner = first.operator.key
        viewer = await _key(client, owner, None, "viewer")
        other = await _key(client, owner, "other", "admin")
        routes = [route for router in routers(wiring) for route in router.routes if isinstance(route, APIRoute)]
        yield World(client, routes, owner, viewer, other, first.workspace_id)
    await app._stop()
    await wiring.close()


async def _key(client: httpx.AsyncClient, owner: str, workspace: str | None, role: str) -> str:
    headers = {"authorization": f"Bearer {owner}"}
    if workspace:
        made = await client.post("/workspaces", json={"name": workspace}, headers=headers)
        assert made.status_code == 201
        headers["x-charkha-workspace"] = workspace
        await _wait(client, headers)
    answer = await client.post("/keys", json={"name": role, "role": role}, headers=headers)
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    await _wait(client, {"authorization": f"Bearer {key}"})
    return key


async def _wait(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Until the snapshot has what was just made."""
    import asyncio

    for _ in range(100):
        if (await client.get("/status", headers=headers)).status_code not in (401, 404):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the snapshot never had it")


@pytest.fixture
async def world(urls: Urls, tmp_path: Path, database: Database) -> AsyncIterator[World]:
    home = tmp_path / "home"
    configured = settings.load(home=home, database_url=urls.database, migration_url=urls.migration)
    async with _running(Installation(configured)) as world:
        yield world


def _calls(routes: list[APIRoute]) -> list[tuple[str, str, str]]:
    """(method, path with unknown ids in it, permission) of every route."""
    found = []
    for route in routes:
        permission = permission_of(route)
        assert permission is not None, f"{route.path} declares no permission"
        path = re.sub(r"\{[^}]+\}", lambda _: str(uuid4()), route.path)
        found += [(method, path, permission) for method in sorted(route.methods or ())]
    return found


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_every_route_declares_a_permission_and_answers_nobody(world: World) -> None:
    calls = _calls(world.routes)
    assert len(calls) > 40
    for method, path, permission in calls:
        response = await world.client.request(method, path)
        if path in OPEN:
            assert permission == "public"
            assert response.status_code == 200
        else:
            assert permission in ALL, path
            assert response.status_code == 401, f"{method} {path}: {response.status_code}"
    for method, path in GATEWAY:
        assert (await world.client.request(method, path)).status_code == 401, path


async def test_a_viewer_only_reads(world: World) -> None:
    for method, path, permission in _calls(world.routes):
        if permission != "public" and permission not in ROLES["viewer"]:
            response = await world.client.request(method, path, headers=_bearer(world.viewer), json={})
            assert response.status_code == 403, f"{method} {path}: {response.status_code} {response.text[:200]}"


async def test_unknown_ids_are_not_found_and_nothing_answers_5xx(world: World) -> None:
    for method, path, permission in _calls(world.routes):
        for body in (None, {}, {"nonsense": [1, {"deep": "x" * 100}]}):
            response = await world.client.request(method, path, headers=_bearer(world.owner), json=body)
            if permission != "public" and "DELETE /keys" not in f"{method} {path}":
                assert response.status_code < 500, (
                    f"{method} {path} {body}: {response.status_code} {response.text[:300]}"
                )
            if response.status_code >= 400:
                assert response.json()["error"]["message"]


async def _things(world: World) -> dict[str, Any]:
    """One of each thing that can be made without an engine, in the first workspace."""
    owner = _bearer(world.owner)
    endpoint = (
        await world.client.post("/endpoints", json={"name": "secret-name", "variant": {}}, headers=owner)
    ).json()
    lines = b"".join(b'{"input": "text %d", "label": "%s"}\n' % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(20))
    uploaded = await world.client.post(
        "/datasets?name=secret-data", content=lines, headers={**owner, "content-type": "application/jsonl"}
    )
    assert uploaded.status_code == 201, uploaded.text
    dataset = uploaded.json()
    suite = await world.client.post(
        "/suites",
        json={"name": "secret-suite", "endpoint_id": endpoint["id"], "dataset_version_id": dataset["id"]},
        headers=owner,
    )
    assert suite.status_code == 201, suite.text
    messages = [{"role": "system", "content": "secret {{ word }}"}]
    prompt = await world.client.post("/prompts", json={"name": "secret-prompt", "messages": messages}, headers=owner)
    assert prompt.status_code == 201, prompt.text
    return {"endpoint": endpoint, "dataset": dataset, "suite": suite.json(), "prompt": prompt.json()}


async def test_another_workspaces_key_reaches_nothing(world: World) -> None:
    made = await _things(world)
    ids = [
        made["endpoint"]["id"],
        made["endpoint"]["name"],
        made["dataset"]["id"],
        made["dataset"]["dataset_id"],
        made["suite"]["id"],
        made["prompt"]["id"],
        made["prompt"]["name"],
        made["endpoint"]["variants"][0]["id"],
        made["endpoint"]["variants"][0]["version_id"],
    ]
    others = _bearer(world.other)
    for route in world.routes:
        if permission_of(route) == "public" or route.path in ("/status", "/workspaces"):
            continue
        for known in ids if "{" in route.path else [""]:
            path = re.sub(r"\{[^}]+\}", known, route.path)
            for method in sorted(route.methods or ()):
                response = await world.client.request(method, path, headers=others, json={"reason": "theft"})
                assert response.is_error or "secret" not in response.text, f"{method} {path}"
                assert response.status_code < 500
                if "{" in route.path and method == "GET":
                    empty = response.status_code == 200 and not response.json().get("data", [1])
                    assert response.status_code in (400, 403, 404, 422) or empty, (
                        f"{method} {path} {response.text[:200]}"
                    )
    after = await world.client.get("/endpoints/secret-name", headers=_bearer(world.owner))
    assert after.status_code == 200
    assert after.json()["live_plan_id"] == made["endpoint"]["live_plan_id"]


async def test_a_base_model_is_registered_and_every_change_is_audited(world: World) -> None:
    made = await _things(world)
    owner = _bearer(world.owner)
    variant = made["endpoint"]["variants"][0]
    version = (await world.client.get(f"/versions/{variant['version_id']}", headers=owner)).json()
    assert (version["kind"], version["number"], version["base_model"]) == ("base", 0, variant["model"])
    trail = (await world.client.get("/audit?limit=100", headers=owner)).json()["data"]
    done = {row["action"] for row in trail}
    assert {"key.created", "endpoint.created", "dataset.frozen"} <= done
    assert any(action.startswith("suite") for action in done)


async def test_the_openapi_document_describes_every_route(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()
    for route in world.routes:
        for method in route.methods or ():
            assert document["paths"][route.path][method.lower()]["summary"]
