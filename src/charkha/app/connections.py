"""What one connection may hold and how long it may keep us waiting: uvicorn's protocol, with the bounds that it lacks.

Boundary: the only code between the socket and ASGI. The hot path pays for a few counters; whoever waits too long is found by a
sweep over all connections, once a second.
"""

import asyncio
import resource
import weakref
from dataclasses import dataclass
from typing import Any

import msgspec
import uvicorn.protocols.http.httptools_impl as uvicorn_http
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from charkha.core.errors import CharkhaError, Invalid, Timeout, TooLarge, Unavailable
from charkha.kit.http import error_body

_SWEEP_SECONDS = 1.0
_OTHER_FILES = 256


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one connection: bytes of a head, requests sent ahead, seconds; and how many connections there may be."""

    head_bytes: int = 64 * 2**10
    ahead: int = 64
    head_seconds: float = 30.0
    stalled_seconds: float = 60.0
    closing_seconds: float = 10.0
    connections: int = 30_000


class HeadTooLarge(TooLarge):
    """The headers, or what stands between the pieces of a body, are larger than they may be."""

    status, code = 431, "headers_too_large"


class SlowHead(Timeout):
    """The client opened a connection, or began a request, and did not go on."""

    status, code = 408, "request_timeout"


_NOT_HTTP = Invalid("This is not an HTTP/1.1 request.", remedy="Send one that is well formed.", code="invalid_http")
_FULL = Unavailable("There are too many connections now.", remedy="Try again.", code="overloaded")


class _Nowhere(list[Any]):
    """Where trailers go: nobody reads them, and they must not be taken for headers."""

    def append(self, _: Any) -> None:
        """Forget it."""


_TRAILERS = _Nowhere()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Made by the class that `protocol` returns."""

    bounds: Bounds
    sweep: "Sweep"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._quiet = 0  # bytes that have come since the last whole head or piece of a body
        self._refusal: CharkhaError | None = None
        self.seen: tuple[str, object, int] | None = None
        self.since = 0.0

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or refuse it where there are too many."""
        super().connection_made(transport)
        self.sweep.watch(self)
        if len(self.connections) > self.bounds.connections:
            self.refuse(_FULL)

    def data_received(self, data: bytes) -> None:
        """Read on, no further than the bounds."""
        if self._refusal is not None:
            return
        self._quiet += len(data)
        super().data_received(data)
        if self._quiet > self.bounds.head_bytes:
            self.refuse(self._too_large())
        elif (
            len(self.pipeline) > self.bounds.ahead
        ):  # its answers are owed in order, so there is none to refuse it with
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """A request has begun. What is still to come is its body; what comes after that are trailers."""
        if self._quiet > self.bounds.head_bytes and self._head_size() > self.bounds.head_bytes:
            self._refusal = self._too_large()
            raise self._refusal
        self._quiet = 0
        super().on_headers_complete()
        self.headers = _TRAILERS

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._quiet = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """What cannot be read is refused in our own form."""
        self.refuse(self._refusal or _NOT_HTTP)

    def refuse(self, error: CharkhaError) -> None:
        """Tell of an error where an answer is still owed, and close."""
        self._refusal = error
        if self.transport is None or self.transport.is_closing():
            return
        if not self.pipeline and self._may_answer():
            self.transport.write(_told(error))
        self.transport.close()

    def _may_answer(self) -> bool:
        """Whether an answer can be told here; the application behind a request that has none yet is told to stop."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        if cycle.response_started:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return True

    def waits(self) -> tuple[str, object, int] | None:
        """What this connection keeps us waiting for, if anything: the same for as long as it does not get on."""
        if self.transport.is_closing():
            return "closing", None, 0
        if self.flow.write_paused:
            return "stalled", self.cycle, self.transport.get_write_buffer_size()
        if self.cycle is None:
            return "head", None, 0
        if not self.cycle.response_complete:
            return None
        if self.cycle.more_body:
            return "rest", self.cycle, 0
        return ("head", self.cycle, 0) if self.timeout_keep_alive_task is None else None

    def give_up(self, what: str) -> None:
        """Do not wait any longer."""
        if what == "head":
            self.refuse(SlowHead("The request did not arrive in time.", remedy="Send it faster."))
        elif what == "rest":  # of a body whose request has been answered
            self.transport.close()
        else:  # closing would wait for the client to read what is still to be sent
            self.transport.abort()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _too_large(self) -> HeadTooLarge:
        return HeadTooLarge(
            f"The headers are larger than {self.bounds.head_bytes} bytes.", remedy="Send fewer, or less."
        )


class Sweep:
    """Looks at every connection of a process once a second, while there are any."""

    def __init__(self, bounds: Bounds) -> None:
        self._most = {
            "head": bounds.head_seconds,
            "rest": bounds.head_seconds,
            "stalled": bounds.stalled_seconds,
            "closing": bounds.closing_seconds,
        }
        self._open: weakref.WeakSet[BoundedProtocol] = weakref.WeakSet()
        self._next: asyncio.TimerHandle | None = None

    def watch(self, connection: BoundedProtocol) -> None:
        """Look at a new connection too."""
        self._open.add(connection)
        if self._next is None:
            self._next = connection.loop.call_later(_SWEEP_SECONDS, self._look, connection.loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            if connection.parser is None:  # it is lost
                self._open.discard(connection)
                continue
            waits = connection.waits()
            if waits != connection.seen:
                connection.seen, connection.since = waits, now
            elif waits is not None and now - connection.since > self._most[waits[0]]:
                connection.give_up(waits[0])
        self._next = loop.call_later(_SWEEP_SECONDS, self._look, loop) if self._open else None


def allowed() -> Bounds:
    """The bounds of a process of its own: as many connections as it may open files for, which it is given all of.

    A request needs two, its client's and its engine's.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * Bounds().connections + _OTHER_FILES
    files = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return Bounds(connections=max(1, (files - _OTHER_FILES) // 2))


def protocol(bounds: Bounds | None = None) -> type[BoundedProtocol]:
    """The protocol for uvicorn's `http`, for one server."""
    chosen = bounds or Bounds()
    return type("Protocol", (BoundedProtocol,), {"bounds": chosen, "sweep": Sweep(chosen)})


def _told(error: CharkhaError) -> bytes:
    body = msgspec.json.encode(error_body(error))
    line = uvicorn_http.STATUS_LINE[error.status]
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return line + head + body
