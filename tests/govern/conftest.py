"""An installation after its first run, as the tests of this folder use it."""

from collections.abc import AsyncIterator, Awaitable
from typing import NamedTuple
from uuid import UUID

import pytest
import sqlalchemy as sa

from charkha.core.errors import Unauthenticated
from charkha.govern import keyring, sign_in_tokens
from charkha.govern.directory import Directory
from charkha.govern.keyring import Authenticator, Principal
from charkha.govern.keys import KeyService, NewKey
from charkha.govern.sessions import NewSession, SessionService
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.snapshot import Snapshots

AGENT = "Mozilla/5.0 (X11; Linux x86_64)"


async def refused(call: Awaitable[object]) -> None:
    """That a call is refused with the one refusal there is."""
    with pytest.raises(Unauthenticated) as caught:
        await call
    assert str(caught.value) == str(sign_in_tokens.not_signed_in())
    assert "`charkha console` prints a new sign-in link" in caught.value.remedy


class SignInWorld(NamedTuple):
    """Sessions over a real database, whose snapshot is refreshed by hand, and a key of the first workspace."""

    database: Database
    secrets: Secrets
    keys: KeyService
    directory: Directory
    snapshots: Snapshots
    authenticator: Authenticator
    sessions: SessionService
    workspace_id: UUID
    operator: NewKey
    key: NewKey

    def principal(self, key: str | None = None) -> Principal:
        """Who calls with a key; the developer's, unless another is given."""
        return self.authenticator.authenticate(f"Bearer {key or self.key.key}")

    async def link(self, key: str | None = None) -> str:
        """The token of a new sign-in link."""
        principal = self.principal(key)
        async with self.database.workspace(principal.workspace_id, principal.actor) as tx:
            return (await self.sessions.make_link(tx, principal)).token

    async def begun(self) -> NewSession:
        """A new session of the developer's key."""
        return await self.sessions.begin_with_key(self.key.key, AGENT)

    def elsewhere(self) -> SessionService:
        """Sessions as another process of the installation sees them: with the same keys, and a memory of its own."""
        return SessionService(self.secrets, self.database, self.authenticator)

    async def set(self, table: sa.Table, row_id: UUID, **values: object) -> None:
        """Change a stored row, as time would."""
        async with self.database.workspace(self.workspace_id, "test") as tx:
            assert await tx.execute(table.update().where(table.c.id == row_id).values(**values)) == 1

    async def second_workspace(self) -> tuple[UUID, NewKey]:
        """Another workspace of the organisation, and a key in it."""
        organisation = self.principal().organisation_id
        other = await self.directory.create_workspace(organisation, "other", "test")
        async with self.database.workspace(other, "test") as tx:
            made = await self.keys.create(tx, name="other's", role="admin")
        await self.snapshots.refresh()
        return other, made


@pytest.fixture
async def signing_in(database: Database, secrets_of_test: Secrets) -> AsyncIterator[SignInWorld]:
    """The world of sign-ins."""
    keys = KeyService(secrets_of_test)
    directory, snapshots = Directory(database, keys), Snapshots(database)
    await directory.prepare()
    first = await directory.first_run()
    assert first is not None
    async with database.workspace(first.workspace_id, "test") as tx:
        key = await keys.create(tx, name="laptop", role="developer")
    snapshots.register("keys", keyring.load)
    await snapshots.refresh()
    authenticator = Authenticator(secrets_of_test, snapshots)
    sessions = SessionService(secrets_of_test, database, authenticator)
    yield SignInWorld(
        database,
        secrets_of_test,
        keys,
        directory,
        snapshots,
        authenticator,
        sessions,
        first.workspace_id,
        first.operator,
        key,
    )
    await snapshots.stop()
