"""API keys: made, listed, revoked. The key itself leaves this module once, in the answer to its making."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from charkha.core.clock import now
from charkha.core.errors import Forbidden, Invalid, NotFound
from charkha.core.ids import uuid7
from charkha.govern import audit
from charkha.govern.keyring import new_key
from charkha.govern.permissions import ALL, ROLES, covers, granted
from charkha.govern.tables import api_keys
from charkha.kit.crypto import Secrets
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.kit.snapshot import bump


class Key(msgspec.Struct, frozen=True):
    """A key as it may be shown: never the secret, only a hint of it."""

    id: UUID
    name: str
    hint: str
    role: str
    scopes: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKey(msgspec.Struct, frozen=True):
    """A key that was just made, with its secret: shown now and never again."""

    id: UUID
    key: str
    name: str
    role: str
    workspace_id: UUID


class KeyService:
    """Makes and revokes keys of the transaction's workspace."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def create(
        self,
        tx: Tx,
        *,
        name: str,
        role: str = "developer",
        scopes: list[str] | None = None,
        days: float | None = None,
        by: frozenset[str] = ALL,
    ) -> NewKey:
        """Make a key. `by` is what the maker may do: nobody makes a key mightier than their own."""
        _check(name, role, scopes, days)
        beyond = granted(role, tuple(scopes) if scopes is not None else None) - by
        if beyond:
            raise Forbidden(
                f"Your key lacks '{sorted(beyond)[0]}', so it cannot give it.", remedy="Choose a lesser role or scopes."
            )
        key, key_id = new_key(), uuid7()
        await tx.insert(
            api_keys,
            id=key_id,
            name=name,
            hash=self._secrets.hash_token(key),
            hint=f"{key[:15]}…{key[-4:]}",
            role=role,
            scopes=scopes,
            expires_at=now() + timedelta(days=days) if days else None,
        )
        await audit.record(tx, "key.created", "key", key_id, name=name, role=role, scopes=scopes)
        await bump(tx)
        return NewKey(key_id, key, name, role, tx.workspace_id)

    async def revoke(self, tx: Tx, key_id: UUID) -> int:
        """Revoke a key for good; returns the snapshot version from which on it is refused everywhere."""
        changed = await tx.execute(
            api_keys.update()
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=sa.func.now())
        )
        if not changed:
            raise NotFound(
                "There is no such key in this workspace, or it is revoked.", remedy="See `charkha keys list`."
            )
        await audit.record(tx, "key.revoked", "key", key_id)
        return await bump(tx)

    async def listed(
        self, tx: Tx, *, ids: Collection[UUID] | None = None, after: UUID | None = None, limit: int = 50
    ) -> Page[Key]:
        """The workspace's keys, newest first; of `ids` only, if given."""
        query = sa.select(api_keys).where(api_keys.c.workspace_id == tx.workspace_id)
        if ids is not None:
            query = query.where(api_keys.c.id == sa.any_(sa.literal(list(ids), ARRAY(sa.Uuid))))
        return await page(tx, query, api_keys, _key, after=after, limit=limit)


def _check(name: str, role: str, scopes: list[str] | None, days: float | None) -> None:
    if not 1 <= len(name) <= 200:
        raise Invalid("A key's name has 1 to 200 characters.", remedy="Give such a name.", param="name")
    if role not in ROLES:
        raise Invalid(f"There is no role '{role}'.", param="role", remedy=f"Roles: {', '.join(ROLES)}.")
    for scope in scopes or []:
        if not any(covers((scope,), permission) for permission in ALL):
            raise Invalid(f"There is no scope '{scope}'.", param="scopes", remedy=f"Scopes: {', '.join(sorted(ALL))}.")
    if days is not None and not 0 < days <= 3650:
        raise Invalid(
            "A key lives for more than 0 and at most 3,650 days.", remedy="Give a number of days between.", param="days"
        )


def _key(row: sa.Row[Any]) -> Key:
    return Key(row.id, row.name, row.hint, row.role, row.scopes, row.created_at, row.expires_at, row.revoked_at)
