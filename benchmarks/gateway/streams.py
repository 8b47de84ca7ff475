"""What a stream costs: how late its first byte comes, how long a chunk is under way, and how many can be held."""

import asyncio
import resource
import time
from typing import NamedTuple

import httptools

from benchmarks.gateway import parts
from benchmarks.gateway.load import Connection, Tally, Target
from benchmarks.gateway.upstream import SENT

AT_ONCE, PAUSE_US, CHUNKS = 8, 2_000, 250
OPENING = 64


class Chunks(NamedTuple):
    """What passed: seconds that each chunk was under way (sorted), and seconds until each stream's first byte (sorted)."""

    transits: list[float]
    firsts: list[float]

    def ms(self, share: float) -> tuple[float, float]:
        """A quantile of both, in milliseconds."""
        return tuple(each[int(len(each) * share)] * 1000 for each in self)  # type: ignore[return-value]


class Stream(Connection):
    """Asks for one stream after the other, and reads the time in each chunk."""

    def __init__(self, tally: Tally, request: bytes, streams: int) -> None:
        super().__init__(tally, request)
        self._left, self._is_first = streams, True
        self.transits, self.firsts = list[float](), list[float]()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Note the time at once, before anything is parsed."""
        self._now = time.perf_counter()
        super().data_received(data)

    def on_body(self, body: bytes) -> None:
        """Part of the answer: mostly one chunk."""
        place = body.find(SENT)
        if place < 0:
            return
        if self._is_first:
            self.firsts.append(self._now - self._began)
        self._is_first = False
        while place >= 0:
            start = place + len(SENT)
            end = body.index(b'"', start)
            self.transits.append(self._now - float(body[start:end]))
            place = body.find(SENT, end)

    def answered(self) -> None:
        """Ask for the next stream, or be done."""
        self._left -= 1
        self._is_first = True
        if self._left > 0:
            self.send(time.perf_counter())
        elif not self.ended.done():
            self.ended.set_result(None)


class Idle(asyncio.Protocol):
    """One stream that has begun and says no more."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """It has begun."""
        if not self.begun.done():
            self.begun.set_result(self._parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        """It should not have ended."""
        if not self.begun.done():
            self.begun.set_result(0)


async def streamed(target: Target, *, streams: int, chunks: int = CHUNKS, connections: int = AT_ONCE) -> Chunks:
    """Read so many streams on each connection, whose chunks come one by one."""
    tally, loop = Tally(), asyncio.get_running_loop()
    request = target.request(b',"stream":true,"max_tokens":%d,"seed":%d' % (chunks, PAUSE_US))
    clients = [Stream(tally, request, streams) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", target.port)
        client.send(time.perf_counter())
        await asyncio.sleep(PAUSE_US / 1e6 / connections)  # so that chunks do not come all at once
    await asyncio.gather(*(client.ended for client in clients))
    tally.running = False
    for client in clients:
        client.close()
    tally.check()
    found = Chunks([], [])
    for client in clients:
        found.transits.extend(client.transits)
        found.firsts.extend(client.firsts)
    return Chunks(sorted(found.transits), sorted(found.firsts))


async def idle(target: Target, count: int, pids: list[int]) -> tuple[int, float]:
    """Hold so many idle streams; how many have begun, and the memory of the server in MB while they are held."""
    loop = asyncio.get_running_loop()
    request, clients = target.request(b',"stream":true,"max_tokens":2,"seed":-1'), list[Idle]()
    gate = asyncio.Semaphore(OPENING)

    async def begin() -> None:
        async with gate:
            _, client = await loop.create_connection(lambda: Idle(request), "127.0.0.1", target.port)
            clients.append(client)
            await client.begun

    await asyncio.gather(*(begin() for _ in range(count)))
    await asyncio.sleep(1)
    held = sum(client.begun.result() == 200 and not client.transport.is_closing() for client in clients)
    memory = parts.rss_mb(pids)
    for client in clients:
        client.transport.abort()  # type: ignore[attr-defined]
    await asyncio.sleep(1)
    return held, memory


def raise_descriptors(wanted: int) -> int:
    """Allow this process and its children so many open files, or as many as the system lets us; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most)
