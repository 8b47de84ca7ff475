"""Routes of sessions: make a sign-in link, see who is signed in, end a session. Cookies are the console's own matter."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from charkha.govern.access import Access, Caller
from charkha.govern.sessions import Session, SessionService
from charkha.kit.http import Router
from charkha.kit.paging import Page

SIGN_IN_PATH = "/console/sign-in"


class SignInLinkOut(msgspec.Struct, frozen=True):
    """A link for one sign-in. `path` holds the token behind `#`, which browsers send to no server and no log."""

    token: str
    expires_at: datetime
    path: str


def router(sessions: SessionService, access: Access) -> Router:
    """The routes, bound to their service."""
    api = Router(tags=["govern"])

    @api.post("/sign-in-links", status_code=201)
    async def create_sign_in_link(caller: Caller = access.require("session.create")) -> SignInLinkOut:
        """Make a link with which a browser signs in to the console as this key: once, within 15 minutes."""
        async with caller.transaction() as tx:
            link = await sessions.make_link(tx, caller.principal)
        return SignInLinkOut(link.token, link.expires_at, f"{SIGN_IN_PATH}#{link.token}")

    @api.get("/sessions")
    async def list_sessions(
        after: UUID | None = None, limit: int = 50, caller: Caller = access.require("session.read")
    ) -> Page[Session]:
        """Who is or was signed in to the console, newest first."""
        async with caller.transaction() as tx:
            return await sessions.listed(tx, after=after, limit=limit)

    @api.delete("/sessions/{session_id}")
    async def revoke_session(session_id: UUID, caller: Caller = access.require("session.manage")) -> dict[str, Any]:
        """End a session; every gateway process refuses it within two seconds."""
        async with caller.transaction() as tx:
            await sessions.revoke(tx, session_id)
        return {"revoked": session_id}

    return api
