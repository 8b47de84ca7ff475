"""One connection of `wire`'s client, and the answer on it: what a parser and an event loop tell, made into a body to be read.

Owns the bytes from an engine until they are read: at most `_HIGH` of them wait, then the engine is told to pause.
"""

import asyncio
import time
from types import TracebackType
from typing import Any

import aiohttp
import httptools
from multidict import CIMultiDict

MAX_HEAD_BYTES = 64 * 2**10
_HEADER_COST = 32  # what a header is counted as besides its bytes, so that many small ones are no way around
_HIGH = 2**18  # bytes that wait for their reader when an engine is told to pause
_LENGTHS, _EMPTY = (b"content-length", b"transfer-encoding"), (204, 304)


class Answer:
    """An answer whose status and headers are there. `async with` gives its connection back."""

    __slots__ = ("_connection", "_ended", "_error", "_parts", "_raw", "_size", "_waiter", "status")

    def __init__(self, connection: "Connection", status: int, raw: list[tuple[bytes, bytes]]) -> None:
        self.status, self._raw = status, raw
        self._connection: Connection | None = connection
        self._parts: list[bytes] = []
        self._size, self._ended = 0, False
        self._error: aiohttp.ClientError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def headers(self) -> CIMultiDict[str]:
        """Its headers, by name in whatever case."""
        return CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in self._raw)

    @property
    def content(self) -> "Answer":
        """The body, to be read by `iter_any`."""
        return self

    def iter_any(self) -> "Answer":
        """The body as it comes. Raises ClientPayloadError where it breaks off."""
        return self

    def __aiter__(self) -> "Answer":
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._connection is not None:
            self._connection.go_on()
        return data

    async def read(self) -> bytes:
        """All of the body."""
        return b"".join([part async for part in self])

    def release(self) -> None:
        """Let go of the connection: one whose answer was not read to its end is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    close = release

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def feed(self, data: bytes) -> bool:
        """More of the body; whether its reader is too slow for it."""
        self._parts.append(data)
        self._size += len(data)
        self._wake()
        return self._size > _HIGH

    def end(self, error: aiohttp.ClientError | None = None) -> None:
        """The end of the body, or of the hope for one."""
        self._ended, self._error, self._connection = True, error, None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """One connection and the one request that is on it. A pool's only while it is idle and sound."""

    def __init__(self, pool: list["Connection"]) -> None:
        self._pool, self._parser = pool, httptools.HttpResponseParser(self)
        self._head: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes, self._paused, self._until_closed = 0, False, False
        self.idle_since, self.is_open = 0.0, True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to be asked."""
        self._transport: Any = transport

    async def ask(self, request: bytes) -> Answer:
        """Send a request; its answer, once it has begun."""
        self._head = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._head
        except BaseException:
            self.close()
            raise

    def go_on(self) -> None:
        """The reader has caught up."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """End it; what is under way on it is lost."""
        self.is_open, self._answer = False, None
        self._transport.abort()

    # What the event loop tells

    def data_received(self, data: bytes) -> None:
        """Part of an answer; what nobody has asked for ends the connection."""
        if self._head is None and self._answer is None:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(aiohttp.ClientPayloadError(f"The engine does not speak HTTP: {error}"))

    def eof_received(self) -> None:
        """The engine sends no more; `connection_lost` follows."""

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits for more is told; an answer without a length ends here, and is whole if nothing went wrong."""
        self.is_open = False
        answer, head = self._answer, self._head
        self._answer = self._head = None
        if answer is not None:
            whole = self._until_closed and error is None
            answer.end(None if whole else aiohttp.ClientPayloadError("The engine broke off its answer."))
        elif head is not None and not head.done():
            head.set_exception(aiohttp.ServerDisconnectedError("The engine closed the connection."))

    # What the parser tells

    def on_message_begin(self) -> None:
        """An answer begins: to what was asked, or nobody knows to what."""
        if self._head is None:
            raise ValueError("an answer that nobody has asked for")
        self._headers, self._head_bytes = [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of an answer's head, or of a chunked body's trailer."""
        self._head_bytes += len(name) + len(value) + _HEADER_COST
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("headers without an end")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole. What is said before the answer (100, 103) is passed over."""
        status, headers = self._parser.get_status_code(), self._headers
        if status < 200 or self._head is None:
            return
        names = {name.lower() for name, _ in headers}
        self._until_closed = names.isdisjoint(_LENGTHS) and status not in _EMPTY
        self._answer = Answer(self, status, headers)
        if not self._head.done():
            self._head.set_result(self._answer)
        self._head = None

    def on_body(self, body: bytes) -> None:
        """Part of an answer's body."""
        if self._answer is not None and self._answer.feed(body) and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The answer is whole: the connection is free for the next one."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        answer.end()
        self.go_on()
        if self._parser.should_keep_alive() and not self._until_closed:
            self.idle_since = time.monotonic()
            self._pool.append(self)
        else:
            self.is_open = False
            self._transport.close()

    def _fail(self, error: aiohttp.ClientError) -> None:
        answer, head = self._answer, self._head
        self._head = None
        self.close()
        if answer is not None:
            answer.end(error)
        elif head is not None and not head.done():
            head.set_exception(error)
