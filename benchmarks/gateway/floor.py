"""The floor: the least that a proxy in Python has to do, and so the most that a gateway in Python can reach.

Raw ASGI under uvicorn (uvloop, httptools), set as Charkha sets its own; a key checked by HMAC; the body read once;
one record in a file; aiohttp to the upstream; the answer's usage read. No limits, no routes, no metrics, no deadline.
"""

import hashlib
import hmac
import os
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import msgspec
import uvicorn

PEPPER = b"floor"
Message = MutableMapping[str, Any]


def hashed(key: str) -> bytes:
    """What the floor keeps of a key."""
    return hmac.digest(PEPPER, key.encode(), hashlib.sha256)


class _Asked(msgspec.Struct):
    model: str
    stream: bool = False


class _Answer(msgspec.Struct):
    usage: dict[str, int]


class _Record(msgspec.Struct, array_like=True):
    model: str
    status: int
    tokens: int


class Floor:
    """The application."""

    def __init__(self, upstream: str, key: str, file: str) -> None:
        self._url, self._keys = f"{upstream}/v1/chat/completions", {hashed(key)}
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._asked = msgspec.json.Decoder(_Asked).decode
        self._answer = msgspec.json.Decoder(_Answer).decode
        self._record = msgspec.msgpack.Encoder().encode

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        """The server's life, or one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        key = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if hashed(key) not in self._keys:
            await _tell(send, 401, b'{"error":{"message":"unknown key"}}')
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        asked = self._asked(body)
        async with self._session.post(self._url, data=body, headers={"content-type": "application/json"}) as response:
            if asked.stream:
                await self._stream(asked, response, send)
            else:
                await self._whole(asked, response, send)

    async def _whole(self, asked: _Asked, response: aiohttp.ClientResponse, send: Any) -> None:
        answer = await response.read()
        tokens = self._answer(answer).usage["total_tokens"]
        os.write(self._file, self._record(_Record(asked.model, response.status, tokens)))
        await _tell(send, response.status, answer)

    async def _stream(self, asked: _Asked, response: aiohttp.ClientResponse, send: Any) -> None:
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": response.status, "headers": head})
        async for data in response.content.iter_any():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        os.write(self._file, self._record(_Record(asked.model, response.status, 0)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _live(self, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        await receive()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _tell(send: Any, status: int, body: bytes) -> None:
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def main(upstream: str, key: str, file: str, descriptor: str) -> None:
    """Serve on an inherited socket until SIGTERM."""
    config = uvicorn.Config(
        Floor(upstream, key, file),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(descriptor))])


if __name__ == "__main__":
    main(*sys.argv[1:])
