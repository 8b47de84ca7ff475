"""The HTTP front: `/v1/*` goes to the gateway, everything else to FastAPI; both only for hosts that we go by.

Boundary: the only ASGI application that is served. A request whose Host or Origin is not ours is refused before
anything reads it, which is what defeats DNS rebinding.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI

from charkha import __version__
from charkha.app import document
from charkha.core.errors import Forbidden
from charkha.govern.access import verify
from charkha.kit.http import Router, error_response, install_errors

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_MAX_BODY = 64 * 2**20


def control_plane(routers: Iterable[Router]) -> FastAPI:
    """FastAPI with every station's routes; refuses to be built with a route that declares no permission."""
    app = FastAPI(title="Charkha", version=__version__, summary="The wheel, over HTTP.", redoc_url=None)
    install_errors(app)
    document.install(app)
    for router in routers:
        app.include_router(router)
        verify(router.routes)
    return app


class Front:
    """Checks who is addressed, caps bodies, and dispatches."""

    def __init__(
        self,
        gateway: Application,
        control: Application,
        *,
        hosts: Iterable[str],
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
        console: Application | None = None,
    ) -> None:
        """`console` answers below /console; without it `control` does."""
        self._gateway, self._control, self._console = gateway, control, console
        self._hosts = _LOOPBACK | {host.lower() for host in hosts}
        self._start, self._stop = start, stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            if not self._is_ours(scope):
                refusal = Forbidden(
                    "This host name is not served here.", remedy="Add it to allowed_hosts.", code="unknown_host"
                )
                await error_response(refusal)(scope, receive, send)
            elif self._console is not None and (scope["path"] + "/").startswith("/console/"):
                await self._console(scope, _capped(receive), send)
            else:
                await self.dispatch(scope, receive, send)

    async def dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request whose host is known to be ours: the whole public API."""
        if scope["path"].startswith("/v1/"):
            await self._gateway(scope, receive, send)
        else:
            await self._control(scope, _capped(receive), send)

    def _is_ours(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        names = [_host_name(headers.get(b"host", b"").decode("latin-1"))]
        if origin:
            names.append(urlsplit(origin).hostname or "")
        return all(name.lower() in self._hosts for name in names)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _capped(receive: Receive) -> Receive:
    """A receive that ends a body over the cap as if the client had gone."""
    seen = 0

    async def capped() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > _MAX_BODY else message

    return capped
