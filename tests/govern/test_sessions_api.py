"""The routes of sessions: who may make a link, see sessions and end them, and whose."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import httpx
import pytest

from charkha.core.errors import Unauthenticated
from charkha.govern import sessions_api
from charkha.govern.keyring import Authenticator, load
from charkha.govern.permissions import ROLES
from charkha.govern.sessions import SessionService
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.snapshot import Snapshots
from tests.callers import Callers, callers

pytestmark = pytest.mark.anyio


class World(NamedTuple):
    """The service, and callers of its routes."""

    sessions: SessionService
    asking: Callers


@pytest.fixture
async def world(database: Database, secrets_of_test: Secrets) -> World:
    snapshots = Snapshots(database)
    snapshots.register("keys", load)
    sessions = SessionService(secrets_of_test, database, Authenticator(secrets_of_test, snapshots))
    asking = await callers(database, secrets_of_test, lambda access: sessions_api.router(sessions, access))
    await snapshots.refresh()
    return World(sessions, asking)


async def _link(client: httpx.AsyncClient) -> str:
    answer = await client.post("/sign-in-links")
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


@pytest.mark.parametrize("who", ["first", "second", "viewer"])
async def test_each_signs_in_as_themselves(world: World, who: str) -> None:
    async with world.asking.client(who) as client:
        answer = (await client.post("/sign-in-links")).json()
    assert set(answer) == {"token", "expires_at", "path"}
    assert answer["path"] == f"/console/sign-in#{answer['token']}"
    assert 840 < (datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)).total_seconds() <= 900
    begun = await world.sessions.begin_with_link(answer["token"], "a browser")
    _, principal = await world.sessions.principal(begun.cookie)
    assert principal.workspace_id == world.asking.workspaces["second" if who == "second" else "first"]
    assert principal.permissions == ROLES[{"first": "admin", "second": "developer", "viewer": "viewer"}[who]]


async def test_an_administrator_sees_and_ends_sessions(world: World) -> None:
    async with world.asking.client("viewer") as client:
        begun = await world.sessions.begin_with_link(await _link(client), "a browser")
    async with world.asking.client() as client:
        listed = (await client.get("/sessions")).json()
        (row,) = listed["data"]
        assert (row["id"], row["key_name"], row["user_agent"]) == (str(begun.session.id), "viewer", "a browser")
        assert (row["revoked_at"], listed["next"]) == (None, None)
        assert begun.cookie.split(".")[2] not in str(listed)
        ended = await client.delete(f"/sessions/{row['id']}")
        assert (ended.status_code, ended.json()) == (200, {"revoked": row["id"]})
        with pytest.raises(Unauthenticated):
            await world.sessions.principal(begun.cookie)
        again = await client.delete(f"/sessions/{row['id']}")
        assert (again.status_code, again.json()["error"]["remedy"]) == (404, "See `charkha sessions list`.")
        assert (await client.get("/sessions")).json()["data"][0]["revoked_at"] is not None


async def test_lists_are_paged(world: World) -> None:
    async with world.asking.client() as client:
        made = [(await world.sessions.begin_with_link(await _link(client), f"{n}")).session.id for n in range(3)]
        first = (await client.get("/sessions?limit=2")).json()
        rest = (await client.get(f"/sessions?limit=2&after={first['next']}")).json()
    assert [UUID(row["id"]) for row in first["data"] + rest["data"]] == made[::-1]


async def test_who_may_not_is_refused(world: World) -> None:
    """A viewer and a developer see no sessions, and an administrator none of another workspace."""
    async with world.asking.client() as client:
        begun = await world.sessions.begin_with_link(await _link(client), "a browser")
    path = f"/sessions/{begun.session.id}"
    for who in ("viewer", "second"):
        async with world.asking.client(who) as client:
            for method, target in (("GET", "/sessions"), ("DELETE", path)):
                assert (await client.request(method, target)).status_code == 403
    async with world.asking.client() as client:
        assert (await client.delete(f"/sessions/{uuid4()}")).status_code == 404
        for method, target in (("POST", "/sign-in-links"), ("GET", "/sessions"), ("DELETE", path)):
            answer = await client.request(method, target, headers={"authorization": "Bearer charkha_sk_none"})
            assert answer.status_code == 401
    assert await world.sessions.principal(begun.cookie)
