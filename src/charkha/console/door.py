"""The door for a page's own scripts: the REST API under the session's cookie, streaming as it streams.

`/console/api/<workspace>/<path>` is `/<path>` of the public API with the session's rights. A change needs the page's
token. Nothing is decided here but who is asking; bytes pass through in both directions.
"""

from fastapi import Request

from charkha.console import security
from charkha.console.api import Application, Receive, Scope, Send
from charkha.core.errors import CharkhaError, Unauthenticated
from charkha.govern.keyring import Authenticator
from charkha.govern.sessions import SessionService
from charkha.kit.http import error_response

PREFIX = "/console/api"
_NOT_PASSED = frozenset({b"cookie", b"authorization", security.CSRF_HEADER.encode(), b"x-charkha-workspace"})


class Door:
    """An ASGI application, mounted at PREFIX."""

    def __init__(self, sessions: SessionService, authenticator: Authenticator, rest: Application) -> None:
        self._sessions, self._authenticator, self._rest = sessions, authenticator, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of a page's script."""
        workspace, _, path = scope["path"].removeprefix(PREFIX).lstrip("/").partition("/")
        try:
            token = await self._token(Request(dict(scope)), workspace)
        except CharkhaError as error:
            await error_response(error)(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name not in _NOT_PASSED]
        headers += [(b"authorization", f"Bearer {token}".encode()), (b"x-charkha-purpose", b"playground")]
        inner = {**scope, "path": f"/{path}", "raw_path": f"/{path}".encode(), "root_path": "", "headers": headers}
        await self._rest(inner, receive, send)

    async def _token(self, request: Request, workspace: str) -> str:
        cookie = request.cookies.get(security.COOKIE)
        if cookie is None:
            raise Unauthenticated("You are not signed in.", remedy="Reload the page and sign in.")
        session, _ = await self._sessions.principal(cookie)
        if request.method not in ("GET", "HEAD"):
            self._sessions.check_csrf(cookie, request.headers.get(security.CSRF_HEADER, ""))
        return self._authenticator.token_of_key(session.key_id, workspace)
