"""The engine process's HTTP: OpenAI's routes with adapters chosen per request, and the adapters themselves.

Raw ASGI. Boundary: everything that reaches a model has passed the token, the size caps and `engine_requests` here.
`/health` alone is open. A client that leaves frees what its request held. What computes the answers is a `Backend`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog

from charkha.core.errors import (
    CharkhaError,
    Conflict,
    NotFound,
    StorageFull,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from charkha.serve.engines.adapter_files import AdapterFiles, Unprocessable
from charkha.serve.engines.engine_requests import CHAT, COMPLETIONS, COUNT, EMBEDDINGS, SCORE, Asked, Limits, understand
from charkha.serve.engines.engine_responses import Send, error_object, respond

log = structlog.get_logger()

Receive = Callable[[], Awaitable[dict[str, Any]]]
Scope = dict[str, Any]
MAX_BODY: Final = 8 << 20
_ADAPTER: Final = re.compile(r"/adapters/([0-9a-f]{64})")
_NO_SPACE: Final = 28


class AdapterRefused(RuntimeError):
    """The backend does not take an adapter that was checked; the message says why, for the log."""


class Backend(Protocol):
    """What computes answers, and holds adapters while it does."""

    @property
    def ready(self) -> bool:
        """Whether requests are answered now."""
        ...

    @property
    def adapters(self) -> Mapping[str, Path]:
        """The adapters that requests may name now, and their files."""
        ...

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests have named each of them."""
        ...

    def state(self, digest: str) -> str:
        """ "warm" for an adapter that is in memory, else "cold"."""
        ...

    async def add(self, digest: str, path: Path) -> None:
        """Return when requests may name the adapter. Raises AdapterRefused."""
        ...

    async def remove(self, digest: str) -> None:
        """Refuse new requests that name the adapter, at once; return when its file is not needed any more."""
        ...

    async def answer(self, asked: Asked, send: Send) -> None:
        """Answer on `send`. Raises CharkhaError only as long as nothing has been sent; ends its work when cancelled."""
        ...


@dataclass(frozen=True)
class Served:
    """What the engine says of itself, and how much it takes on: adapters at once, and requests waiting or running."""

    name: str
    base_hash: str
    limits: Limits
    max_adapters: int
    max_requests: int


class EngineApp:
    """The ASGI application of the engine process."""

    def __init__(self, served: Served, token: str, backend: Backend, files: AdapterFiles) -> None:
        self._served, self._authorization = served, f"Bearer {token}".encode()
        self._backend, self._files = backend, files
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; any error of ours becomes OpenAI's error object."""
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except _Left:
            log.info("client_left", path=scope["path"])
        except CharkhaError as error:
            retry = {"retry-after": str(error.retry_after)} if isinstance(error, Unavailable) else None
            await respond(send, error.status, msgspec.json.encode(error_object(error)), retry)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if (method, path) == ("GET", "/health"):
            await self._health(send)
            return
        self._authorise(scope)
        if not self._backend.ready:
            raise Unavailable("The engine is starting.", remedy="Try again in a second.", code="engine_starting")
        if method == "POST" and path in (CHAT, COMPLETIONS, COUNT, EMBEDDINGS, SCORE):
            await self._answer(scope, receive, send)
        elif (method, path) == ("GET", "/v1/models"):
            await respond(send, 200, msgspec.json.encode(self._models()))
        elif (method, path) == ("GET", "/adapters"):
            await respond(send, 200, msgspec.json.encode({"adapters": self._adapters()}))
        elif method in ("PUT", "DELETE") and (named := _ADAPTER.fullmatch(path)):
            change = self._put(named[1], receive) if method == "PUT" else self._delete(named[1])
            await respond(send, 200, msgspec.json.encode(await change))
        else:
            raise NotFound(f"There is no {method} {path} here.", remedy="See the engine's routes.")

    def _authorise(self, scope: Scope) -> None:
        if not compare_digest(_header(scope, b"authorization"), self._authorization):
            raise Unauthenticated("The engine's token is missing or wrong.", remedy="Send Authorization: Bearer TOKEN.")

    async def _health(self, send: Send) -> None:
        ready = self._backend.ready
        body = {
            "status": "ready" if ready else "starting",
            "model": self._served.name,
            "base_hash": self._served.base_hash,
            "adapters": len(self._backend.adapters),
        }
        await respond(send, 200 if ready else 503, msgspec.json.encode(body))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = understand(scope["path"], await _body(receive), self._served.limits)
        if self._running + len(asked.calls) > self._served.max_requests:
            raise Unavailable("The engine has too much to do.", remedy="Try again in a second.", code="overloaded")
        self._running += len(asked.calls)
        try:
            await _while_connected(receive, self._backend.answer(asked, send))
        finally:
            self._running -= len(asked.calls)

    def _models(self) -> dict[str, Any]:
        return {
            "object": "list",
            "data": [{"id": self._served.name, "object": "model", "created": 0, "owned_by": "charkha"}],
        }

    def _adapters(self) -> list[dict[str, Any]]:
        backend = self._backend
        counts = backend.requests
        return [
            {
                "id": digest,
                "bytes": path.stat().st_size,
                "state": backend.state(digest),
                "requests": counts.get(digest, 0),
            }
            for digest, path in backend.adapters.items()
        ]

    async def _put(self, digest: str, receive: Receive) -> dict[str, Any]:
        held = self._backend.adapters
        if digest not in held:
            if len(held) >= self._served.max_adapters:
                remedy = "Unload one with DELETE /adapters/{sha256}."
                raise Conflict(
                    f"{len(held)} adapters are loaded, the most allowed.", remedy=remedy, code="too_many_adapters"
                )
            await self._load(digest, receive)
        return {"id": digest, "state": "warm"}

    async def _load(self, digest: str, receive: Receive) -> None:
        try:
            path = await self._files.receive(digest, _chunks(receive))
            await self._backend.add(digest, path)
        except AdapterRefused as error:
            self._files.remove(digest)
            log.warning("adapter_refused", adapter=digest, reason=str(error))
            raise Unprocessable("The engine does not take this adapter.", remedy="See the engine's log.") from error
        except OSError as error:
            if error.errno == _NO_SPACE:
                raise StorageFull("The disk is full: the adapter was not stored.", remedy="Free space.") from error
            log.error("adapter_not_stored", adapter=digest, reason=str(error))
            raise CharkhaError("The adapter could not be stored.", remedy="See the engine's log.") from error
        log.info("adapter_loaded", adapter=digest)

    async def _delete(self, digest: str) -> dict[str, Any]:
        await self._backend.remove(digest)
        self._files.remove(digest)
        log.info("adapter_unloaded", adapter=digest)
        return {"id": digest, "deleted": True}


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for each, value in scope["headers"] if each == name), b"")


class _Left(Exception):
    """The client closed the connection before its body had come."""


async def _body(receive: Receive) -> bytes:
    parts, size = [], 0
    async for chunk in _chunks(receive):
        size += len(chunk)
        if size > MAX_BODY:
            raise TooLarge(f"A request may have {MAX_BODY} bytes.", remedy="Send a shorter one.")
        parts.append(chunk)
    return b"".join(parts)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, but cancel it when the client leaves."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
    if not working.cancelled():
        working.result()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
