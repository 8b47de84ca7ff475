"""The little of ASGI that the hot path needs: headers, a body with a cap, replies, and how long a request may live.

Boundary: the only module that knows ASGI's messages. Everything else speaks of bytes, statuses and errors.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any

from charkha.core.errors import CharkhaError, LimitReached, TooLarge, Unavailable
from charkha.govern.limits.meter import FREE, Tally
from charkha.serve.dialects import openai

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

WATCH_SECONDS = 0.1
CLIENT_CLOSED, REQUEST_ID = "client_closed", b"x-request-id"
_JSON, _EVENTS = (b"content-type", b"application/json"), (b"content-type", b"text/event-stream; charset=utf-8")
_LIVE = [_EVENTS, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class ClientGone(Exception):
    """The client went away before its request was whole, or before its answer was."""


class Headers:
    """A request's headers, by lower-case name; of a name that comes twice, the last counts."""

    __slots__ = ("_raw",)

    def __init__(self, scope: Scope) -> None:
        self._raw: dict[bytes, bytes] = dict(scope["headers"])

    def get(self, name: bytes) -> str | None:
        """The value of a header, or None."""
        value = self._raw.get(name)
        return None if value is None else value.decode("latin-1")


async def read_body(receive: Receive, headers: Headers, most: int) -> bytes:
    """The request's body. Raises TooLarge as soon as it is known to be over `most` bytes, ClientGone if it breaks off."""
    announced = headers.get(b"content-length")
    if announced is not None and announced.isdecimal() and int(announced) > most:
        raise too_large(most)
    message = await receive()
    if not message.get("more_body", False) and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
    else:
        body = await _rest(receive, message, most)
    if len(body) > most:
        raise too_large(most)
    return body


async def _rest(receive: Receive, message: Message, most: int) -> bytes:
    parts = bytearray()
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        parts += message.get("body", b"")
        if len(parts) > most:
            raise too_large(most)
        if not message.get("more_body", False):
            return bytes(parts)
        message = await receive()


def too_large(most: int) -> TooLarge:
    """The error for a body over the cap."""
    return TooLarge(f"The body is larger than {most} bytes.", remedy="Send less, or raise limits.max_body_bytes.")


class Reply:
    """The answer to one request: whole or streamed, its common headers put on, an error wherever it still can be told."""

    __slots__ = ("_began", "_send", "dialect", "ended", "headers", "started", "status", "tally")

    def __init__(self, send: Send, began: float) -> None:
        self._send, self._began = send, began
        self.headers: list[tuple[bytes, bytes]] = []
        self.dialect = openai.DIALECT
        self.tally: Tally = FREE  # the limits on the caller, of which every answer tells
        self.started = self.ended = False
        self.status = 0

    async def whole(self, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
        """Answer with JSON, all at once."""
        await self._start(status, [_JSON, (b"content-length", b"%d" % len(body)), *more])
        await self._body(body, more=False)

    async def events(self, data: bytes, *, more: bool = True) -> None:
        """Send server-sent events; the first call begins the answer, `more=False` ends it."""
        if not self.started:
            await self._start(200, [*_LIVE])
        await self._body(data, more=more)

    async def error(self, error: CharkhaError) -> None:
        """Tell of an error: as the answer, or as the last event where the answer has begun. Never a false [DONE]."""
        if self.ended:
            return
        if self.started:
            await self._body(self.dialect.error_event(error), more=False)
            return
        more = [(b"www-authenticate", b"Bearer")] if error.status == 401 else []
        if isinstance(error, Unavailable | LimitReached):
            more.append((b"retry-after", b"%d" % error.retry_after))
        await self.whole(error.status, self.dialect.error(error), *more)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started, self.status = True, status
        elapsed = int((time.perf_counter() - self._began) * 1000)
        took = (b"openai-processing-ms", b"%d" % elapsed)
        told = [*headers, took, *self.headers]
        if self.dialect.id_header:
            told += [(self.dialect.id_header, value) for name, value in self.headers if name == REQUEST_ID]
        if self.tally.accounts:
            told += self.tally.headers()
        await self._send({"type": "http.response.start", "status": status, "headers": told})

    async def _body(self, data: bytes, *, more: bool) -> None:
        self.ended = not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


class Deadline:
    """`async with asyncio.timeout(seconds)`, in a third of the time: raises TimeoutError out of a block that takes longer.

    For the hot path, which passes two of them with each request. Not to be moved once it runs, nor used twice.
    """

    __slots__ = ("_cancelling", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds, self._expired = seconds, False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "there is nothing to cancel outside of a task"
        self._task, self._cancelling = task, task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()


class Lifetime(Deadline):
    """How long a request may go on: to its deadline, or until its client has gone. Its body has been read by then.

    Raises TimeoutError out of the block in both cases; `departed` tells which. A client is watched after WATCH_SECONDS
    only: most answers are there by then, and a task for each to watch it would cost a tenth of the throughput.
    """

    __slots__ = ("_left", "_receive", "_watch", "departed")

    def __init__(self, receive: Receive, seconds: float) -> None:
        super().__init__(min(seconds, WATCH_SECONDS))
        self._receive, self._left = receive, seconds - WATCH_SECONDS
        self._watch: asyncio.Task[None] | None = None
        self.departed = False

    async def __aenter__(self) -> "Lifetime":
        self.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self.__exit__(kind, error, trace)

    def _expire(self) -> None:
        if self._watch is None and self._left > 0:
            self._watch = asyncio.ensure_future(self._until_departed())
            self._timer = asyncio.get_running_loop().call_later(self._left, self._expire)
        else:
            super()._expire()

    async def _until_departed(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.departed = True
        super()._expire()
