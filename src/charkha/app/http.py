"""The HTTP front: `/v1/*` goes to the gateway, everything else to FastAPI; both only for hosts that we go by.

Boundary: the only ASGI application that is served. A request whose Host or Origin is not ours is refused before
anything reads it, which is what defeats DNS rebinding.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI

from charkha import __version__
from charkha.app import document
from charkha.core.errors import CharkhaError, Forbidden, SlowBody, TooLarge
from charkha.govern.access import verify
from charkha.kit.http import Router, error_response, install_errors

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_BODY, BODY_SECONDS = 64 * 2**20, 120.0
_MOST_NAMES = 1_024


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
        self._addressed: set[bytes] = set()  # Host headers that were found to be ours
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
                bounded = _Bounded(scope, receive, send)
                await self._console(scope, bounded.receive, bounded.send)
            else:
                await self.dispatch(scope, receive, send)

    async def dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request whose host is known to be ours: the whole public API."""
        if scope["path"].startswith("/v1/"):
            await self._gateway(scope, receive, send)
        else:
            bounded = _Bounded(scope, receive, send)
            await self._control(scope, bounded.receive, bounded.send)

    def _is_ours(self, scope: Scope) -> bool:
        host, origin = b"", b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        if origin or host not in self._addressed:
            if not self._are_ours(host, origin):
                return False
            if len(self._addressed) < _MOST_NAMES:
                self._addressed.add(host)
        return True

    def _are_ours(self, host: bytes, origin: bytes) -> bool:
        """As somebody says who they address, and as a browser says whose page asks."""
        names = [_host_name(host.decode("latin-1"))]
        if origin:
            names.append(urlsplit(origin.decode("latin-1")).hostname or "")
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


class _Bounded:
    """A request whose body is refused when it is over the cap or too slow, whatever its reader makes of the end of it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._seen, self._whole, self._deadline = 0, False, 0.0
        self._refusal: CharkhaError | None = None
        self._started = False

    async def receive(self) -> MutableMapping[str, Any]:
        """The next message; a body that is refused ends as if the client had gone."""
        if self._whole:
            return await self._receive()
        self._deadline = self._deadline or asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            return self._refused(SlowBody("The body did not arrive in time.", remedy="Send it faster, or less of it."))
        self._seen += len(message.get("body", b""))
        if self._seen > MAX_BODY:
            return self._refused(TooLarge(f"The body is larger than {MAX_BODY} bytes.", remedy="Send less."))
        self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """What the reader answers, unless its request was refused before it had begun to."""
        if self._refusal is None or self._started:
            self._started = True
            await self._send(message)
        elif message["type"] == "http.response.start":
            await error_response(self._refusal)(self._scope, self._receive, self._send)

    def _refused(self, error: CharkhaError) -> MutableMapping[str, Any]:
        self._refusal = self._refusal or error
        return {"type": "http.disconnect"}
