"""Sessions of the console: a browser that acts as the API key with which it signed in, in that key's workspace.

Boundary: the only reader and writer of `sessions` and `sign_in_links`. The rights are never copied: they are read from
the keyring each time, so a session ends with its key. Link and cookie leave this module once, in the answer to their making.
"""

import hmac
import time
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa

from charkha.core.clock import now
from charkha.core.errors import Forbidden, NotFound, Unauthenticated
from charkha.core.ids import uuid7
from charkha.govern import audit, sign_in_tokens
from charkha.govern.keyring import INTERNAL_PREFIX, Authenticator, Principal
from charkha.govern.sign_in_tokens import COOKIE_PREFIX, LINK_PREFIX, Named, not_signed_in
from charkha.govern.tables import api_keys, sessions, sign_in_links
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database, Tx
from charkha.kit.paging import Page, page

LINK_LIFE, SESSION_LIFE = timedelta(minutes=15), timedelta(days=30)
REMEMBERED_SECONDS, REMEMBERED_SESSIONS = 2.0, 1000
USER_AGENT_LENGTH = 300
_ACTOR = "system:sign-in"
"""Who reads a row before it is known whose it is; nothing is written under this name."""


class SignInLink(msgspec.Struct, frozen=True):
    """A link's token, for one sign-in."""

    token: str
    expires_at: datetime


class Session(msgspec.Struct, frozen=True):
    """A session as it may be shown: never the cookie."""

    id: UUID
    key_id: UUID
    key_name: str
    key_hint: str
    user_agent: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class NewSession(msgspec.Struct, frozen=True):
    """A session that was just begun, with the cookie's value: told now and never again."""

    cookie: str
    session: Session


class _Known(NamedTuple):
    """A session's row as it was read, and at which second of the monotonic clock."""

    session: Session
    hash: bytes
    read_at: float


class SessionService:
    """Begins, recognises and ends sessions."""

    def __init__(self, secrets: Secrets, database: Database, authenticator: Authenticator) -> None:
        self._secrets, self._database, self._authenticator = secrets, database, authenticator
        self._form_key = secrets.derive("csrf")
        self._known: dict[Named, _Known] = {}

    async def make_link(self, tx: Tx, principal: Principal) -> SignInLink:
        """A link with which a browser signs in as `principal`, once, within 15 minutes.

        Raises Forbidden for a caller without a key, for another workspace than the key's, and for one who may do less
        than the key: a session may all that its key may.
        """
        key = self._authenticator.of_key(principal.key_id) if principal.key_id else None
        if key is None or key.workspace_id != tx.workspace_id or key.permissions - principal.permissions:
            raise Forbidden(
                "A sign-in link is made with an API key, in its own workspace.",
                remedy="Call with the key that you want to be signed in as, without naming a workspace.",
            )
        link_id, expires_at = uuid7(), now() + LINK_LIFE
        token = sign_in_tokens.make(LINK_PREFIX, tx.workspace_id, link_id)
        stored = {"hash": self._secrets.hash_token(token), "expires_at": expires_at}
        await tx.insert(sign_in_links, id=link_id, key_id=principal.key_id, **stored)
        await audit.record(tx, "session.link_created", "sign_in_link", link_id)
        return SignInLink(token, expires_at)

    async def begin_with_link(self, token: str, user_agent: str) -> NewSession:
        """Sign in with a link, which is used by that; of two who use it at once, one is refused. Raises Unauthenticated."""
        named = sign_in_tokens.read(LINK_PREFIX, token)
        async with self._database.workspace(named.workspace_id, _ACTOR) as tx:
            row = await tx.one(sa.select(sign_in_links).where(sign_in_links.c.id == named.id))
        if row is None or not hmac.compare_digest(row.hash, self._secrets.hash_token(token)) or row.expires_at <= now():
            raise not_signed_in()
        principal = self._principal(row.key_id, named.workspace_id)
        use = sign_in_links.update().where(sign_in_links.c.id == named.id, sign_in_links.c.used_at.is_(None))
        async with self._database.workspace(named.workspace_id, principal.actor) as tx:
            if not await tx.execute(use.values(used_at=sa.func.now())):
                raise not_signed_in()
            return await self._begin(tx, principal, user_agent, by="link")

    async def begin_with_key(self, authorization_key: str, user_agent: str) -> NewSession:
        """Sign in with an API key as a person pastes it. Raises Unauthenticated, also for tokens of our processes."""
        pasted = authorization_key.strip()
        if pasted.startswith(INTERNAL_PREFIX) or not pasted.isascii():
            raise Unauthenticated("This is no API key.", remedy="`charkha keys create` makes one.")
        principal = self._authenticator.authenticate(f"Bearer {pasted}")
        async with self._database.workspace(principal.workspace_id, principal.actor) as tx:
            return await self._begin(tx, principal, user_agent, by="key")

    async def principal(self, cookie: str) -> tuple[Session, Principal]:
        """Whose cookie it is, and what they may do now. Raises Unauthenticated.

        A row is remembered for two seconds, so a session that was ended is refused everywhere within these; one whose
        key was revoked is refused as soon as this process knows of that.
        """
        named = sign_in_tokens.read(COOKIE_PREFIX, cookie)
        session = await self._session(named, cookie)
        return session, self._principal(session.key_id, named.workspace_id)

    async def end(self, cookie: str) -> None:
        """Sign out: the cookie is worth nothing any more. Raises Unauthenticated where it already was."""
        named = sign_in_tokens.read(COOKIE_PREFIX, cookie)
        session = await self._session(named, cookie)
        async with self._database.workspace(named.workspace_id, f"key:{session.key_id}") as tx:
            if not await tx.execute(_ending(named.id)):
                raise not_signed_in()
            await audit.record(tx, "session.ended", "session", named.id)
        self._known.pop(named, None)

    async def revoke(self, tx: Tx, session_id: UUID) -> None:
        """End anybody's session of the workspace. Raises NotFound."""
        if not await tx.execute(_ending(session_id)):
            raise NotFound(
                "There is no such session in this workspace, or it has ended.", remedy="See `charkha sessions list`."
            )
        await audit.record(tx, "session.revoked", "session", session_id)
        self._known.pop(Named(tx.workspace_id, session_id), None)

    async def listed(self, tx: Tx, *, after: UUID | None = None, limit: int = 50) -> Page[Session]:
        """The workspace's sessions, newest first, those that ended too."""
        return await page(tx, _with_keys(), sessions, _session, after=after, limit=limit)

    def csrf_token(self, cookie: str) -> str:
        """What the session's own pages send with each change, and no other site can know."""
        return sign_in_tokens.form_token(self._form_key, cookie)

    def check_csrf(self, cookie: str, sent: str | None) -> None:
        """Raise Forbidden unless `sent` is the token of the cookie's session."""
        if not sign_in_tokens.same(self.csrf_token(cookie), sent):
            raise Forbidden(
                "This page belongs to another sign-in.", remedy="Reload the page and try again.", code="stale_page"
            )

    def _principal(self, key_id: UUID, workspace_id: UUID) -> Principal:
        """What the key may do now; refused with the key, and in any workspace but the key's."""
        principal = self._authenticator.of_key(key_id)
        if principal is None or principal.workspace_id != workspace_id:
            raise not_signed_in()
        return principal

    async def _begin(self, tx: Tx, principal: Principal, user_agent: str, *, by: str) -> NewSession:
        session_id, expires_at = uuid7(), now() + SESSION_LIFE
        cookie = sign_in_tokens.make(COOKIE_PREFIX, tx.workspace_id, session_id)
        await tx.insert(
            sessions,
            id=session_id,
            key_id=principal.key_id,
            hash=self._secrets.hash_token(cookie),
            user_agent=_shown(user_agent),
            expires_at=expires_at,
        )
        await audit.record(tx, "session.begun", "session", session_id, by=by)
        row = await tx.one(_with_keys().where(sessions.c.id == session_id))
        assert row is not None, "it was inserted above, and its key is in this workspace"
        return NewSession(cookie, _session(row))

    async def _session(self, named: Named, cookie: str) -> Session:
        """The session that a cookie is of, if it has not ended; from memory where that is fresh enough."""
        known = self._known.get(named)
        if known is None or time.monotonic() - known.read_at > REMEMBERED_SECONDS:
            known = await self._read(named)
        is_same = hmac.compare_digest(known.hash, self._secrets.hash_token(cookie))
        if not is_same or known.session.revoked_at is not None or known.session.expires_at <= now():
            raise not_signed_in()
        return known.session

    async def _read(self, named: Named) -> _Known:
        """Read a row and remember it; a full memory forgets what it read first. Raises Unauthenticated without a row."""
        read_at = time.monotonic()
        async with self._database.workspace(named.workspace_id, _ACTOR) as tx:
            row = await tx.one(_with_keys().where(sessions.c.id == named.id))
        self._known.pop(named, None)
        if row is None:
            raise not_signed_in()
        while len(self._known) >= REMEMBERED_SESSIONS:
            del self._known[next(iter(self._known))]
        self._known[named] = _Known(_session(row), row.hash, read_at)
        return self._known[named]


def _with_keys() -> sa.Select[Any]:
    key = sa.and_(api_keys.c.workspace_id == sessions.c.workspace_id, api_keys.c.id == sessions.c.key_id)
    named = (api_keys.c.name.label("key_name"), api_keys.c.hint.label("key_hint"))
    return sa.select(sessions, *named).join(api_keys, key)


def _ending(session_id: UUID) -> sa.Update:
    return (
        sessions.update()
        .where(sessions.c.id == session_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=sa.func.now())
    )


def _session(row: sa.Row[Any]) -> Session:
    return Session(
        row.id,
        row.key_id,
        row.key_name,
        row.key_hint,
        row.user_agent,
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )


def _shown(user_agent: str) -> str:
    """What a browser says of itself, as it can be stored and shown: no control characters, at most 300 characters."""
    return "".join(letter for letter in user_agent if letter.isprintable())[:USER_AGENT_LENGTH]
