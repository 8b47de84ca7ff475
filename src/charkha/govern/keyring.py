"""The one authenticator: from a bearer token to a principal, in memory, for every carrier and every route.

Keys are 256 random bits behind a typed prefix, shown once, stored as HMAC-SHA-256 under the installation's pepper.
Processes of the installation itself carry short-lived internal tokens that no table knows.
"""

import base64
import hmac
import secrets as random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.core.errors import Forbidden, NotFound, Unauthenticated
from charkha.govern.permissions import granted
from charkha.govern.tables import api_keys, workspaces
from charkha.kit.crypto import Secrets
from charkha.kit.snapshot import Snapshots

KEY_PREFIX, INTERNAL_PREFIX = "charkha_sk_", "charkha_it_"
INTERNAL_SECONDS = 600
_HOW = "Send `Authorization: Bearer <key>`; `charkha keys create` makes one."


class Principal(NamedTuple):
    """Who is calling, where, and what they may do."""

    actor: str
    organisation_id: UUID
    workspace_id: UUID
    permissions: frozenset[str]
    expires_at: float | None = None

    @property
    def key_id(self) -> UUID | None:
        """The id of the key that calls; None for a process of ours, which has none."""
        kind, _, name = self.actor.partition(":")
        return UUID(name) if kind == "key" else None

    @property
    def has_expired(self) -> bool:
        """Whether its key or token is past its end."""
        return self.expires_at is not None and self.expires_at < time.time()

    def require(self, permission: str) -> None:
        """Raise Forbidden unless the permission is among those granted."""
        if permission not in self.permissions:
            raise Forbidden(
                f"This key may not do '{permission}'.", remedy="Use a key whose role and scopes include it."
            )


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys that are good, by hash and by id, and all workspaces, by organisation and name."""

    principals: Mapping[bytes, Principal] = field(default_factory=dict)
    workspaces: Mapping[tuple[UUID, str], UUID] = field(default_factory=dict)
    organisations: Mapping[UUID, UUID] = field(default_factory=dict)
    by_id: Mapping[UUID, Principal] = field(default_factory=dict)


async def load(conn: AsyncConnection) -> Keyring:
    """Read the keyring; for the snapshot."""
    spaces = (await conn.execute(sa.select(workspaces))).all()
    owner = {row.id: row.organisation_id for row in spaces}
    rows = (await conn.execute(sa.select(api_keys).where(api_keys.c.revoked_at.is_(None)))).all()
    by_id = {row.id: _principal(row, owner[row.workspace_id]) for row in rows}
    return Keyring(
        {row.hash: by_id[row.id] for row in rows},
        {(row.organisation_id, row.name): row.id for row in spaces},
        owner,
        by_id,
    )


def _principal(row: sa.Row[Any], organisation_id: UUID) -> Principal:
    scopes = tuple(row.scopes) if row.scopes is not None else None
    expires = row.expires_at.timestamp() if row.expires_at else None
    return Principal(f"key:{row.id}", organisation_id, row.workspace_id, granted(row.role, scopes), expires)


def new_key() -> str:
    """A fresh API key."""
    return KEY_PREFIX + random.token_urlsafe(32)


class _Claims(msgspec.Struct, array_like=True):
    workspace_id: UUID
    organisation_id: UUID
    actor: str
    permissions: list[str]
    expires_at: int


class Authenticator:
    """Tells who is calling. Reads nothing but memory."""

    def __init__(self, secrets: Secrets, snapshots: Snapshots) -> None:
        self._secrets, self._snapshots = secrets, snapshots
        self._internal_key = secrets.derive("internal-token")

    def authenticate(self, authorization: str | None, api_key: str | None = None) -> Principal:
        """The principal of an `Authorization` header's value, or of an `x-api-key` header's where there is none.

        Raises Unauthenticated saying what is wrong with it.
        """
        scheme, _, token = (authorization or f"bearer {api_key or ''}").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("No API key was sent.", remedy=_HOW)
        if token.startswith(INTERNAL_PREFIX):
            principal = self._internal(token.removeprefix(INTERNAL_PREFIX))
        else:
            keyring: Keyring = self._snapshots.get("keys")
            principal = keyring.principals.get(self._secrets.hash_token(token))
        if principal is None:
            raise Unauthenticated("This API key is not known, or was revoked.", remedy=_HOW)
        if principal.has_expired:
            raise Unauthenticated("This API key has expired.", remedy=_HOW)
        return principal

    def of_key(self, key_id: UUID) -> Principal | None:
        """The principal of a key by its id; None where it was revoked, has expired or never was."""
        keyring: Keyring = self._snapshots.get("keys")
        principal = keyring.by_id.get(key_id)
        return None if principal is None or principal.has_expired else principal

    def token_of_key(self, key_id: UUID, workspace: str | None) -> str:
        """An internal token with what a key may do now in a workspace. Raises Unauthenticated once the key has ended."""
        principal = self.of_key(key_id)
        if principal is None:
            raise Unauthenticated("This API key is not known, or was revoked.", remedy=_HOW)
        acting = self.in_workspace(principal, workspace)
        return self.internal_token(acting.workspace_id, acting.actor, acting.permissions)

    def in_workspace(self, principal: Principal, name: str | None) -> Principal:
        """The principal acting in another workspace of its organisation, where it owns the organisation."""
        if not name:
            return principal
        keyring: Keyring = self._snapshots.get("keys")
        target = keyring.workspaces.get((principal.organisation_id, name))
        if target == principal.workspace_id:
            return principal
        principal.require("workspace.manage")
        if target is None:
            raise NotFound(f"There is no workspace '{name}'.", remedy="`charkha workspaces create` makes one.")
        return principal._replace(workspace_id=target)

    def workspace_names(self, principal: Principal) -> tuple[str, list[str]]:
        """The name of the workspace that a principal acts in, and those of all workspaces of its organisation."""
        keyring: Keyring = self._snapshots.get("keys")
        names = {
            target: name for (owner, name), target in keyring.workspaces.items() if owner == principal.organisation_id
        }
        return names[principal.workspace_id], sorted(names.values())

    def internal_token(self, workspace_id: UUID, actor: str, permissions: frozenset[str]) -> str:
        """A token, good for ten minutes, with which a process of ours calls the gateway as `actor`."""
        keyring: Keyring = self._snapshots.get("keys")
        claims = _Claims(
            workspace_id,
            keyring.organisations[workspace_id],
            actor,
            sorted(permissions),
            int(time.time()) + INTERNAL_SECONDS,
        )
        body = base64.urlsafe_b64encode(msgspec.json.encode(claims)).decode()
        return f"{INTERNAL_PREFIX}{body}.{self._sign(body)}"

    def _internal(self, token: str) -> Principal | None:
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return None
        claims = msgspec.json.decode(base64.urlsafe_b64decode(body), type=_Claims)
        permissions = frozenset(claims.permissions)
        return Principal(claims.actor, claims.organisation_id, claims.workspace_id, permissions, claims.expires_at)

    def _sign(self, body: str) -> str:
        return hmac.new(self._internal_key, body.encode(), "sha256").hexdigest()
