"""Keys and the keyring: shown once, stored as a hash, refused when revoked, expired or foreign."""

import time
from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID

import pytest
import sqlalchemy as sa

from charkha.core.errors import Forbidden, Invalid, NotFound, Unauthenticated
from charkha.govern import audit, keyring
from charkha.govern.directory import Directory
from charkha.govern.keyring import Authenticator
from charkha.govern.keys import KeyService
from charkha.govern.permissions import ROLES
from charkha.govern.tables import api_keys
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.snapshot import Snapshots, serving

pytestmark = pytest.mark.anyio


class World(NamedTuple):
    """An installation after its first run."""

    database: Database
    keys: KeyService
    directory: Directory
    snapshots: Snapshots
    authenticator: Authenticator
    workspace_id: UUID
    operator: str
    organisation_id: UUID


@pytest.fixture
async def world(database: Database, secrets_of_test: Secrets) -> AsyncIterator[World]:
    keys = KeyService(secrets_of_test)
    directory, snapshots = Directory(database, keys), Snapshots(database)
    await directory.prepare()
    first = await directory.first_run()
    assert first is not None
    snapshots.register("keys", keyring.load)
    await snapshots.start()
    authenticator = Authenticator(secrets_of_test, snapshots)
    principal = authenticator.authenticate(f"Bearer {first.operator.key}")
    yield World(
        database,
        keys,
        directory,
        snapshots,
        authenticator,
        first.workspace_id,
        first.operator.key,
        principal.organisation_id,
    )
    await snapshots.stop()


async def _refreshed(world: World) -> None:
    await world.snapshots.refresh()


async def test_the_first_run_happens_once(world: World) -> None:
    assert await world.directory.first_run() is None
    assert world.authenticator.authenticate(f"bearer {world.operator}").permissions == ROLES["owner"]


async def test_a_key_may_come_in_either_header_and_the_bearer_counts(world: World) -> None:
    authenticate = world.authenticator.authenticate
    for authorization in (None, ""):
        assert authenticate(authorization, world.operator).permissions == ROLES["owner"]
    for authorization, api_key in (
        ("Bearer nope", world.operator),
        ("Basic abc", world.operator),
        (None, ""),
        (None, "nope"),
    ):
        with pytest.raises(Unauthenticated):
            authenticate(authorization, api_key)


async def test_a_key_is_stored_as_a_hash_and_audited(world: World) -> None:
    async with world.database.workspace(world.workspace_id, "test") as tx:
        made = await world.keys.create(tx, name="app", role="developer")
        rows = await tx.all(sa.select(api_keys).where(api_keys.c.id == made.id))
        trail = await audit.listed(tx, action="key.created")
    assert made.key not in str(rows)
    assert made.key not in str(trail)
    assert trail.data[0].target_id == str(made.id)
    await _refreshed(world)
    assert world.authenticator.authenticate(f"Bearer {made.key}").permissions == ROLES["developer"]


async def test_a_revoked_key_is_refused(world: World) -> None:
    async with world.database.workspace(world.workspace_id, "test") as tx:
        made = await world.keys.create(tx, name="app")
    await _refreshed(world)
    async with world.database.workspace(world.workspace_id, "test") as tx:
        version = await world.keys.revoke(tx, made.id)
    await _refreshed(world)
    assert world.snapshots.version >= version
    assert [gateway["version"] >= version for gateway in await serving(world.database)] == [True]
    with pytest.raises(Unauthenticated):
        world.authenticator.authenticate(f"Bearer {made.key}")
    async with world.database.workspace(world.workspace_id, "test") as tx:
        with pytest.raises(NotFound):
            await world.keys.revoke(tx, made.id)


async def test_an_expired_key_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.database.workspace(world.workspace_id, "test") as tx:
        made = await world.keys.create(tx, name="app", days=1)
    await _refreshed(world)
    assert world.authenticator.authenticate(f"Bearer {made.key}")
    later = time.time() + 90_000
    monkeypatch.setattr(keyring.time, "time", lambda: later)
    with pytest.raises(Unauthenticated, match="expired"):
        world.authenticator.authenticate(f"Bearer {made.key}")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer charkha_sk_x", "Bearer charkha_it_x", "Bearer a.b"]
)
async def test_what_is_no_key_is_refused(world: World, header: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        world.authenticator.authenticate(header)
    assert caught.value.remedy


async def test_nobody_makes_a_key_mightier_than_their_own(world: World) -> None:
    async with world.database.workspace(world.workspace_id, "test") as tx:
        with pytest.raises(Forbidden):
            await world.keys.create(tx, name="app", role="owner", by=ROLES["admin"])
        with pytest.raises(Invalid, match="role"):
            await world.keys.create(tx, name="app", role="king")
        with pytest.raises(Invalid, match="scope"):
            await world.keys.create(tx, name="app", scopes=["everything"])


async def test_an_owner_acts_in_another_workspace_of_the_organisation_and_others_do_not(world: World) -> None:
    other = await world.directory.create_workspace(world.organisation_id, "other", "test")
    assert await world.directory.create_workspace(world.organisation_id, "other", "test") == other
    async with world.database.workspace(world.workspace_id, "test") as tx:
        admin = await world.keys.create(tx, name="app", role="admin")
    await _refreshed(world)
    owner = world.authenticator.authenticate(f"Bearer {world.operator}")
    assert world.authenticator.in_workspace(owner, "other").workspace_id == other
    assert world.authenticator.in_workspace(owner, "default") == owner
    with pytest.raises(NotFound):
        world.authenticator.in_workspace(owner, "nowhere")
    with pytest.raises(Forbidden):
        world.authenticator.in_workspace(world.authenticator.authenticate(f"Bearer {admin.key}"), "other")


async def test_an_internal_token_holds_what_it_says_and_cannot_be_changed(world: World) -> None:
    token = world.authenticator.internal_token(world.workspace_id, "system:test", frozenset({"inference.create"}))
    principal = world.authenticator.authenticate(f"Bearer {token}")
    assert (principal.workspace_id, principal.actor) == (world.workspace_id, "system:test")
    assert principal.permissions == {"inference.create"}
    for position in range(len(keyring.INTERNAL_PREFIX), len(token), 7):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        with pytest.raises(Unauthenticated):
            world.authenticator.authenticate(f"Bearer {changed}")


async def test_keys_can_be_asked_for_by_their_ids(world: World) -> None:
    async with world.database.workspace(world.workspace_id, "test") as tx:
        made = [(await world.keys.create(tx, name=name)).id for name in ("a", "b", "c")]
        found = await world.keys.listed(tx, ids=[made[0], made[2], UUID(int=1)])
        assert ([key.name for key in found.data], found.next) == (["c", "a"], None)
        assert (await world.keys.listed(tx, ids=[])).data == []


async def test_keys_of_another_workspace_are_not_listed_or_revoked(world: World) -> None:
    other = await world.directory.create_workspace(world.organisation_id, "other", "test")
    async with world.database.workspace(world.workspace_id, "test") as tx:
        made = await world.keys.create(tx, name="app")
    async with world.database.workspace(other, "test") as tx:
        assert (await world.keys.listed(tx)).data == []
        with pytest.raises(NotFound):
            await world.keys.revoke(tx, made.id)


async def test_a_workspace_needs_a_plain_name(world: World) -> None:
    for name in ("", "a" * 65, "a/b", "a b"):
        with pytest.raises(Invalid):
            await world.directory.create_workspace(world.organisation_id, name, "test")
    assert [each["name"] for each in await world.directory.workspaces(world.organisation_id)] == ["default"]
