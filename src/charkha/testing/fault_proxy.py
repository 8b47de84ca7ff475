"""A TCP proxy that breaks what passes through it, on demand: for tests of whatever calls an engine over a network.

    async with fault_proxy("127.0.0.1:8000") as proxy:
        await proxy.put(Reset(after=100))     # from now on, and for connections that are open: they are dropped
        ...                                   # call proxy.url
        await proxy.put(None)                 # it lets everything through

A fault is a value. `after` counts bytes of the answers on one connection, heads included. `FAULTS` has one of each kind.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

_PIECE = 65_536
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset after so many bytes of the answer."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is closed in good order after so many bytes of the answer, which was to be longer."""

    after: int


@dataclass(frozen=True, slots=True)
class Drip:
    """The answer comes `size` bytes at a time, with a pause in seconds before each."""

    pause: float
    size: int = 1


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more comes after so many bytes of the answer, and the connection stays open."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Says:
    """The engine is not asked: this is the answer. `length`, where given, is told as its length, true or not."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    length: int | None = None

    def bytes(self) -> bytes:
        """The answer as it goes over the wire."""
        length = len(self.body) if self.length is None else self.length
        head = f"HTTP/1.1 {self.status} X\r\ncontent-type: {self.kind}\r\ncontent-length: {length}\r\n\r\n"
        return head.encode() + self.body


Fault = Refused | Reset | Cut | Drip | Hang | Says
FAULTS: Mapping[str, Fault] = {
    "refused": Refused(),
    "reset": Reset(),
    "reset in mid answer": Reset(after=1_000),
    "half a body": Cut(after=1_000),
    "a slow drip": Drip(pause=0.05, size=16),
    "a hang before the first byte": Hang(),
    "a hang after the first byte": Hang(after=1_000),
    "bad JSON": Says(b'{"choices": [{"index": 0, "message": {"content": "half'),
    "too short a length": Says(b'{"choices": []}', length=7),
    "too long a length": Says(b'{"choices": []}', length=700),
    "a 500": Says(b'{"error": {"message": "out of memory"}}', status=500),
}


class FaultProxy:
    """The proxy. `url` is where it listens, `accepted` how many connections it has had, `open` how many it has."""

    def __init__(self, upstream: str) -> None:
        """`upstream` is `host:port`, with or without `http://` before it."""
        host, _, port = upstream.removeprefix("http://").rstrip("/").rpartition(":")
        self._upstream = host, int(port)
        self._fault: Fault | None = None
        self._server: asyncio.Server | None = None
        self._port = self.accepted = 0
        self._running: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._running)

    async def put(self, fault: Fault | None) -> None:
        """Have this fault from now on, or none. Connections that are open are dropped."""
        await self.close()
        self._fault = fault
        if not isinstance(fault, Refused):
            await self.listen()

    async def listen(self) -> None:
        """Listen, at the same address as before."""
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._accept, sock=listener)

    async def close(self) -> None:
        """Listen no more, and drop the connections that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.ensure_future(self._connection(reader, writer))
        self._running[task] = writer
        task.add_done_callback(self._running.pop)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if isinstance(self._fault, Says):
                    await _answer(reader, writer, self._fault.bytes())
                else:
                    await self._pass(reader, writer, self._fault)
        finally:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
        """Pass bytes both ways until either side has ended or the fault has come."""
        from_engine, to_engine = await asyncio.open_connection(*self._upstream)
        there = asyncio.ensure_future(_copy(reader, to_engine))
        back = asyncio.ensure_future(_spoilt(from_engine, writer, fault))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            to_engine.transport.abort()


@asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncIterator[FaultProxy]:
    """A proxy before `upstream` (`host:port`) for the time of a block; at first it lets everything through."""
    proxy = FaultProxy(upstream)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()


async def _spoilt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
    """Pass the answer on, up to the fault."""
    match fault:
        case Drip(pause=pause, size=size):
            while data := await reader.read(size):
                await asyncio.sleep(pause)
                writer.write(data)
                await writer.drain()
        case Reset(after=after):
            await _first(reader, writer, after)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        case Cut(after=after):
            await _first(reader, writer, after)
            writer.close()
            await writer.wait_closed()
        case Hang(after=after):
            await _first(reader, writer, after)
            await asyncio.Event().wait()
        case _:
            await _copy(reader, writer)


async def _first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int) -> None:
    """Pass on so many bytes; wait for the first one in any case, so that the engine has been asked."""
    data = await reader.read(max(1, count))
    while data and count > 0:
        writer.write(data[:count])
        await writer.drain()
        count -= len(data)
        data = await reader.read(count) if count > 0 else b""


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Read requests, one after the other, and answer each with the same bytes."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((line.partition(b":")[2] for line in lines if line.startswith(b"content-length:")), b"0")
        await reader.readexactly(int(length))
        writer.write(answer)
        await writer.drain()
