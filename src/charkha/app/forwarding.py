"""The console's own process, seen from a gateway: what is asked below /console passes through a Unix socket to it.

Making pages takes milliseconds at a time, in which a process answers nothing else. So the console has a process of its
own, which is the same program as a gateway, and a gateway only passes its bytes on, in both directions, as they come.
"""

import asyncio
import contextlib
import http.client
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from yarl import URL

from charkha.app.http import Receive, Scope, Send

NAME = "console.sock"
_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})
_STARTING = (
    b'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
    b"<title>Charkha</title></head><body><p>The console is starting. This page comes again by itself.</p></body></html>"
)


def short(path: Path) -> str:
    """The same file by a name that fits a socket's address, whose length is 107 bytes; opens its directory for good."""
    return f"/proc/self/fd/{os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}/{path.name}"


def listen(path: Path) -> socket.socket:
    """A listening socket at `path` for this user alone; what a process left there is removed."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(short(path))
    path.chmod(0o600)
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def answers(path: Path) -> bool:
    """Whether a server at the socket is ready."""
    connection = http.client.HTTPConnection("localhost", timeout=0.5)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(0.5)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.sock.connect(f"/proc/self/fd/{directory}/{path.name}")
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
        os.close(directory)


class Forwarder:
    """An ASGI application that is the one behind the socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on; when the client leaves, the answer is left too."""
        body = _Body(receive)
        passing = asyncio.create_task(self._pass(scope, body, send))
        leaving = asyncio.create_task(body.left())
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if passing.done():
                passing.result()
        finally:
            for task in (passing, leaving):
                task.cancel()
            await asyncio.gather(passing, leaving, return_exceptions=True)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _pass(self, scope: Scope, body: "_Body", send: Send) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        url = URL(f"http://console{path}" + (f"?{query}" if query else ""), encoded=True)
        begun = False
        try:
            asked = self._opened().request(
                scope["method"], url, headers=_headers(scope), data=body.data(scope), allow_redirects=False
            )
            async with asked as answer:
                kept = [
                    (name, value) for name, value in answer.raw_headers if name.decode("latin-1").lower() not in _HOP
                ]
                begun = True
                await send({"type": "http.response.start", "status": answer.status, "headers": kept})
                async for chunk in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, OSError):
            if begun:
                raise  # the server closes the connection, so a broken answer never looks whole
            await _starting(send)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(short(self._path), limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
                auto_decompress=False,
            )
        return self._session


class _Body:
    """A request's body as it comes, and afterwards the news that its client has left."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._read = receive, asyncio.Event()

    def data(self, scope: Scope) -> AsyncIterator[bytes] | None:
        """The body for the request that is passed on; None where there is none."""
        names = {name for name, _ in scope["headers"]}
        if names & {b"content-length", b"transfer-encoding"}:
            return self._chunks()
        self._read.set()
        return None

    async def left(self) -> None:
        """Return when the client is gone."""
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _chunks(self) -> AsyncIterator[bytes]:
        try:
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise aiohttp.ClientConnectionError("the client left")
                yield message.get("body", b"")
                if not message.get("more_body", False):
                    return
        finally:
            self._read.set()


def _headers(scope: Scope) -> list[tuple[str, str]]:
    """The client's headers without those of its connection, and how it came."""
    kept = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    own = _HOP | {"x-forwarded-proto", "x-forwarded-for"}
    return [
        *((name, value) for name, value in kept if name not in own),
        ("x-forwarded-proto", scope.get("scheme", "http")),
    ]


async def _starting(send: Send) -> None:
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"retry-after", b"2"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    with contextlib.suppress(OSError):
        await send({"type": "http.response.body", "body": _STARTING})
