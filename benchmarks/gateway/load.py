"""The load: raw sockets in one event loop, closed (as fast as answers come) or open (at a fixed rate, come what may).

In the open loop a request counts from the instant at which it was due, so that a server that stalls cannot hide it.
"""

import asyncio
import ctypes
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import httptools

BODY = b'{"model":"%b","messages":[{"role":"user","content":"%b"}]%b}'
ASKED = b"How many roads? " * 8
WARM_SECONDS, PATIENCE = 1.0, 2.0


class Target(NamedTuple):
    """Where requests go, and what they carry."""

    port: int
    model: str
    headers: Mapping[str, str]
    path: str = "/v1/chat/completions"

    def request(self, more: bytes = b"") -> bytes:
        """The bytes of one request; `more` are fields of its body."""
        body = BODY % (self.model.encode(), ASKED, more)
        told = {"host": "127.0.0.1", **self.headers, "content-type": "application/json", "content-length": len(body)}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        return f"POST {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Took(NamedTuple):
    """What a load found: requests a second, how long they took (sorted, seconds)."""

    per_second: float
    seconds: list[float]

    def ms(self, share: float) -> float:
        """A quantile, in milliseconds."""
        return round(self.seconds[min(len(self.seconds) - 1, int(len(self.seconds) * share))] * 1000, 3)


class Tally:
    """What clients have seen so far."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.failed: list[bytes] = []
        self.running = True

    def forget(self) -> None:
        """Begin anew: what happens while a server warms up (its first leases, say) is not what is measured."""
        self.took.clear()
        self.failed.clear()

    def check(self) -> None:
        """End the benchmark where a request has failed: figures of failures are none."""
        if self.failed:
            raise SystemExit(f"{len(self.failed)} requests failed: {self.failed[0]!r}")


class Connection(asyncio.Protocol):
    """One connection. Subclasses say what follows an answer."""

    def __init__(self, tally: Tally, request: bytes) -> None:
        self._tally, self._request, self._began, self._body = tally, request, 0.0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self._transport: Any = transport
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._last = data
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        """A connection that ends while it is asked is a failure."""
        if self._began and self._tally.running:
            self._tally.failed.append(b"the connection was closed")

    def on_message_complete(self) -> None:
        """Note how long it took."""
        if self._parser.get_status_code() != 200:
            self._tally.failed.append(self._last[:300])
        self._tally.took.append(time.perf_counter() - self._began)
        self._began = 0.0
        self.answered()

    def answered(self) -> None:
        """What follows an answer."""
        raise NotImplementedError

    def send(self, due: float) -> None:
        """Ask; `due` is when that was to be."""
        self._began = due
        self._transport.write(self._request)

    def close(self) -> None:
        """End it."""
        self._transport.close()


class Closed(Connection):
    """Asks again as soon as it was answered."""

    def answered(self) -> None:
        """Ask again."""
        if self._tally.running:
            self.send(time.perf_counter())


class Open(Connection):
    """Asks when it is told to; free connections stand in a queue."""

    free: deque["Open"]

    def answered(self) -> None:
        """Be free."""
        self.free.append(self)


async def closed(target: Target, connections: int, *, seconds: float = 0, requests: int = 0) -> Took:
    """Keep so many connections busy for some seconds, or until there were so many requests."""
    tally, request, loop = Tally(), target.request(), asyncio.get_running_loop()
    clients = [Closed(tally, request) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", target.port)
        client.send(time.perf_counter())
    await asyncio.sleep(WARM_SECONDS)
    tally.forget()
    began, counted = time.perf_counter(), 0
    if requests:
        while counted < requests and not tally.failed:
            await asyncio.sleep(0.05)
            counted += len(tally.took)
            tally.took.clear()  # a million would be memory of ours
    else:
        await asyncio.sleep(seconds)
        counted = len(tally.took)
    elapsed, tally.running = time.perf_counter() - began, False
    await asyncio.sleep(0.2)
    for client in clients:
        client.close()
    tally.check()
    return Took(round(counted / elapsed, 1), sorted(tally.took[:counted]))


async def opened(target: Target, rate: int, *, seconds: float, connections: int = 32) -> Took:
    """Ask `rate` times a second, whether answers come or not."""
    tally, request, loop = Tally(), target.request(), asyncio.get_running_loop()
    Open.free = deque()
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Open(tally, request), "127.0.0.1", target.port)
        Open.free.append(client)
    done, total = asyncio.Event(), int(rate * (WARM_SECONDS + seconds))
    with _ticking(rate) as (ticks, began):
        sent = 0

        def tick() -> None:
            nonlocal sent
            for _ in range(int.from_bytes(os.read(ticks, 8), "little")):
                if Open.free and sent < total:
                    Open.free.popleft().send(began + (sent + 1) / rate)
                    sent += 1  # where none is free, the next ticks make up for it, and its lateness counts
                elif sent >= total:
                    done.set()

        loop.add_reader(ticks, tick)
        with suppress(TimeoutError):  # a server that cannot keep up is not waited for without end
            async with asyncio.timeout(PATIENCE * (WARM_SECONDS + seconds)):
                await asyncio.sleep(WARM_SECONDS)
                tally.failed.clear()
                await done.wait()
        loop.remove_reader(ticks)
    elapsed, tally.running = time.perf_counter() - began, False
    await asyncio.sleep(0.2)
    for client in Open.free:
        client.close()
    tally.check()
    return Took(round(len(tally.took) / elapsed, 1), sorted(tally.took[int(rate * WARM_SECONDS) :] or tally.took))


@contextmanager
def _ticking(rate: int) -> Iterator[tuple[int, float]]:
    """A descriptor that can be read `rate` times a second, by a clock finer than an event loop's milliseconds."""
    libc, interval = ctypes.CDLL(None, use_errno=True), 1_000_000_000 // rate
    ticks = libc.timerfd_create(1, os.O_NONBLOCK | os.O_CLOEXEC)  # CLOCK_MONOTONIC
    every = (ctypes.c_long * 4)(interval // 10**9, interval % 10**9, interval // 10**9, interval % 10**9)
    try:
        if ticks < 0 or libc.timerfd_settime(ticks, 0, every, None):
            raise OSError(ctypes.get_errno(), "no timer")
        yield ticks, time.perf_counter()
    finally:
        os.close(ticks)
