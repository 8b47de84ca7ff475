"""What is measured, in which order, and what it is called in the result. Times are milliseconds unless a name says else.

Whatever is compared with something else is measured in turns with it, so that a machine that changes its pace meanwhile does so
for both.
"""

import asyncio
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.gateway import load, parts, streams
from benchmarks.gateway.load import Target, Took
from benchmarks.gateway.upstream import MODEL

CLOSED, RATES = (1, 16, 64, 256), (500, 1_000, 2_000, 4_000)
MANY, USUAL = 64, 1_000
FIRST_BYTES = 300


class Server(NamedTuple):
    """Something that answers: its name in the result, where it is asked, its processes."""

    name: str
    target: Target
    pids: Sequence[int] = ()

    @classmethod
    def direct(cls, port: int) -> "Server":
        """The upstream itself, which everything else has behind it."""
        return cls("direct", Target(port, MODEL, {}))


@dataclass
class Plan:
    """How long and how often."""

    seconds: float = 10.0
    rounds: int = 3
    requests: int = 100_000
    idle: int = 10_000
    streams: int = 6
    rates: Sequence[int] = RATES


@dataclass
class Run:
    """The figures so far, and how they are told while they come."""

    plan: Plan
    say: Callable[[str], None]
    figures: dict[str, Any] = field(default_factory=dict)

    def note(self, **figures: Any) -> None:
        """Keep figures, and tell them."""
        self.figures |= figures
        self.say("  ".join(f"{name} {value}" for name, value in figures.items()))

    async def closed(self, server: Server, connections: int) -> tuple[Took, float]:
        """What a server does under so many connections; the µs of processor time that it spends on a request."""
        before = parts.cpu_seconds(server.pids)
        took = await load.closed(server.target, connections, seconds=self.plan.seconds)
        spent = parts.cpu_seconds(server.pids) - before
        return took, spent / (took.per_second * (self.plan.seconds + load.WARM_SECONDS)) * 1e6

    async def throughput(self, direct: Server, floor: Server, gateway: Server) -> None:
        """Requests a second, in turns with the floor where that is compared."""
        for connections in CLOSED:
            if connections != MANY:
                took, _ = await self.closed(gateway, connections)
                self._closed(gateway, connections, [took])
        for server in (direct, floor):
            took, _ = await self.closed(server, 1)
            self._closed(server, 1, [took])
        found: dict[str, list[tuple[Took, float]]] = {}
        for _ in range(self.plan.rounds):
            for server in (floor, gateway):
                found.setdefault(server.name, []).append(await self.closed(server, MANY))
        for server in (floor, gateway):
            self._closed(server, MANY, [took for took, _ in found[server.name]])
            cpu = statistics.median(spent for _, spent in found[server.name])
            self.note(**{f"{_prefix(server)}cpu_us": round(cpu, 1)})
        ratios = [mine[0].per_second / its[0].per_second for its, mine in zip(*found.values(), strict=True)]
        self.note(ratio_to_floor_64=round(statistics.median(ratios), 3))

    def _closed(self, server: Server, connections: int, found: Sequence[Took]) -> None:
        middle = sorted(found)[len(found) // 2]
        self.note(
            **{
                f"{_prefix(server)}requests_per_second_{connections}": middle.per_second,
                f"{_prefix(server)}p50_ms_{connections}": middle.ms(0.5),
                f"{_prefix(server)}p99_ms_{connections}": middle.ms(0.99),
            }
        )

    async def latency(self, direct: Server, gateway: Server) -> None:
        """What the gateway adds to a request at fixed rates, whatever becomes of them."""
        for rate in self.plan.rates:
            its = await load.opened(direct.target, rate, seconds=self.plan.seconds)
            mine = await load.opened(gateway.target, rate, seconds=self.plan.seconds)
            added = {share: round(mine.ms(share) - its.ms(share), 3) for share in (0.5, 0.99)}
            self.note(**{f"open_{rate}_added_p50_ms": added[0.5], f"open_{rate}_added_p99_ms": added[0.99]})
            if rate == USUAL:
                self.note(added_p50_ms=added[0.5], added_p99_ms=added[0.99])

    async def streaming(self, direct: Server, floor: Server, gateway: Server) -> None:
        """How late a stream's first byte is, and what each chunk costs."""
        firsts = {
            server.name: await streams.streamed(server.target, streams=FIRST_BYTES, chunks=1, connections=1)
            for server in (direct, gateway)
        }
        late = [firsts["gateway"].ms(share)[1] - firsts["direct"].ms(share)[1] for share in (0.5, 0.99)]
        self.note(first_byte_ms=round(late[0], 3), first_byte_p99_ms=round(late[1], 3))
        transit = {}
        for server in (direct, floor, gateway):
            transit[server.name], cost = await self._chunks(server)
            if server.pids:
                self.note(**{f"{_prefix(server)}chunk_us": round(cost, 1)})
        added = transit["gateway"] - transit["direct"]
        self.note(chunk_added_ms=round(added, 3), floor_chunk_added_ms=round(transit["floor"] - transit["direct"], 3))

    async def _chunks(self, server: Server) -> tuple[float, float]:
        """How long a chunk is under way (median), and the µs of processor time that each one more of a stream costs."""
        spent, found = [], None
        for chunks in (1, streams.CHUNKS):
            before = parts.cpu_seconds(server.pids)
            found = await streams.streamed(server.target, streams=self.plan.streams, chunks=chunks)
            spent.append(parts.cpu_seconds(server.pids) - before)
        assert found is not None
        more = self.plan.streams * streams.AT_ONCE * (streams.CHUNKS - 1)
        return found.ms(0.5)[0], (spent[1] - spent[0]) / more * 1e6

    async def memory(self, gateway: Server) -> None:
        """What a gateway holds before and after many requests, and with many idle streams."""
        pids = list(gateway.pids)
        before = parts.rss_mb(pids)
        await load.closed(gateway.target, MANY, requests=self.plan.requests)
        after = parts.rss_mb(pids)
        self.note(rss_mb=after, rss_growth_mb=round(after - before, 1), rss_requests=self.plan.requests)
        wanted = min(self.plan.idle, (streams.raise_descriptors(2 * self.plan.idle + 256) - 256) // 2)
        held, memory = await streams.idle(gateway.target, wanted, pids)
        self.note(idle_streams=held, idle_streams_rss_mb=memory)

    async def peer(self, server: Server) -> None:
        """What a peer does with the same load; how many times that the gateway does."""
        took, _ = await self.closed(server, MANY)
        self._closed(server, MANY, [took])
        ratio = self.figures["requests_per_second_64"] / took.per_second
        self.note(**{f"ratio_to_{server.name}_64": round(ratio, 1)})

    async def processes(self, one: Sequence[Server], two: Sequence[Server]) -> None:
        """What a second process adds: for the floor and for the gateway, on all cores."""
        found: dict[str, list[float]] = {}
        for _ in range(max(1, self.plan.rounds - 1)):
            for server in (*one, *two):
                took, _ = await self.closed(server, MANY)
                found.setdefault(f"{server.name}{len(server.pids)}", []).append(took.per_second)
        best = {name: statistics.median(values) for name, values in found.items()}
        its, mine = best["floor2"] / best["floor1"], best["gateway2"] / best["gateway1"]
        self.note(two_process_ratio=round(mine, 3), floor_two_process_ratio=round(its, 3))
        self.note(two_process_ratio_to_floor=round(mine / its, 3))


def _prefix(server: Server) -> str:
    return "" if server.name == "gateway" else f"{server.name}_"


async def settle() -> None:
    """Let what has just started come to rest."""
    await asyncio.sleep(1)
