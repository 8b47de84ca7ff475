"""The mock upstream: answers at once, whole or streamed, in a process of its own; and what is asked of it.

A request tells with `max_tokens` how many chunks a stream has and with `seed` how many microseconds lie between two; `seed`
0 is all at once, a negative one sends the first chunk and then nothing. Each chunk says when it was sent, by the clock that
all processes of a machine share, so that the client can tell how long it was under way.
"""

import asyncio
import json
import sys
import time
from typing import Any

import httptools
import msgspec
import uvloop

MODEL = "tiny"
_CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Forty-two. " * 8}, "finish_reason": "stop"}
_USAGE = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
_ANSWER = {"id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": MODEL}
SENT = b'"content":"'
"""What stands before a chunk's time: seconds of `time.perf_counter`, with six places."""


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _reply() -> bytes:
    body = _json({**_ANSWER, "choices": [_CHOICE], "usage": _USAGE})
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    return b"data: " + _json({**_ANSWER, "object": "chat.completion.chunk", "choices": choices, **more}) + b"\n\n"


_WHOLE = _reply()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNK = _event([{"index": 0, "delta": {"content": "@"}, "finish_reason": None}])
_LAST = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}]) + _event([], usage=_USAGE) + b"data: [DONE]\n\n"


class _Wanted(msgspec.Struct):
    stream: bool = False
    max_tokens: int = 1
    max_completion_tokens: int | None = None
    seed: int = 0


_wanted = msgspec.json.Decoder(_Wanted).decode


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upstream(asyncio.Protocol):
    """One connection, whose requests are answered as soon as they are whole."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self._transport: Any = transport
        self._parser, self._body, self._left = httptools.HttpRequestParser(self), b"", 0

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Part of a request's body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer it."""
        body, self._body = self._body, b""
        if b'"stream":true' not in body.replace(b": ", b":"):
            self._transport.write(_WHOLE)
            return
        wanted = _wanted(body)
        self._left, self._pause = wanted.max_completion_tokens or wanted.max_tokens, wanted.seed / 1e6
        self._transport.write(_HEAD)
        self._next()

    def _next(self) -> None:
        """Send the next chunk, or all that are left where there is no pause between them."""
        while self._left and not self._transport.is_closing():
            self._left -= 1
            self._transport.write(_framed(_CHUNK.replace(b"@", b"%.6f" % time.perf_counter())))
            if self._pause > 0:
                asyncio.get_running_loop().call_later(self._pause, self._next)
            if self._pause:
                return
        if not self._transport.is_closing():
            self._transport.write(_framed(_LAST) + b"0\r\n\r\n")


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=4096)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve())
