"""Ten times the capacity of a gateway, as it is run: how soon the excess is refused, what the rest and health feel of it.

Three processes: an engine that takes 500 ms for each answer, a gateway with room for 16 requests (so 32 a second), and this
one. First one client asks alone (idle), then requests begin at a fixed rate, ten times the capacity, whatever becomes of those
before them, while another client asks for health. Writes `benchmarks/results/overload.json`.

Run: python -m benchmarks overload
"""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
import uvloop

from benchmarks.report import write
from charkha.app import settings
from charkha.app.api import configured
from charkha.app.installation import Installation
from charkha.app.listener import bind, url_of
from charkha.app.serving import served
from charkha.app.wiring import Wiring
from charkha.kit.postgres import launcher
from charkha.kit.postgres.migrate import upgrade
from charkha.testing.fake_engine import FakeModel
from charkha.testing.serving import serving

ROOM, PAUSE, TIMES = 16, 0.5, 10
RATE = round(TIMES * ROOM / PAUSE)
SECONDS, ALONE = 10.0, 30
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "How many roads?"}]}


async def serve_engine() -> None:
    """The engine's process: tells its address, then serves until its standard input ends."""
    async with serving(FakeModel(pause=PAUSE)) as address:
        print(address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def serve_gateway(home: Path, upstream: str) -> None:
    """The gateway's process: tells its address, a key and its id, then serves until its standard input ends."""
    running = launcher.start(home)
    upgrade(running.migration_url)
    engine = {"plugin": "openai", "url": f"{upstream}/v1", "api_key_env": "", "models": {"tiny": "tiny"}}
    limits: Any = {"max_in_flight": ROOM}
    wiring = Wiring(Installation(settings.load(home=home, engines={"local": engine}, limits=limits)))
    await wiring.directory.prepare()
    first = await wiring.directory.first_run()
    assert first is not None
    server = uvicorn.Server(configured(served(wiring)))
    with bind("127.0.0.1", 0) as listener:
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this flag alone
            await asyncio.sleep(0.01)
        print(url_of(listener), first.application.key, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await task
    running.stop()


async def measure(url: str, key: str) -> dict[str, float]:
    """All figures, flat; times in milliseconds."""
    headers = {"authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as http:
        alone = [await ask(http) for _ in range(ALONE)]
        health: list[float] = []
        watching = asyncio.create_task(watch(http, health))
        tasks, began = [], time.perf_counter()
        for number in range(round(RATE * SECONDS)):
            if (early := began + number / RATE - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.append(asyncio.create_task(ask(http)))
        offered = len(tasks) / (time.perf_counter() - began)
        answers = await asyncio.gather(*tasks)
        watching.cancel()
    idle = p99([took for _, took in alone])
    admitted = [took for status, took in answers if status == 200]
    refused = [took for status, took in answers if status == 503]
    assert len(admitted) + len(refused) == len(answers), "every answer is one or the other"
    return {
        "room": ROOM,
        "offered_per_second": round(offered, 1),
        "admitted": len(admitted),
        "refused": len(refused),
        "refused_p99_ms": p99(refused),
        "idle_p99_ms": idle,
        "admitted_p99_ms": p99(admitted),
        "admitted_p99_ratio": round(p99(admitted) / idle, 3),
        "health_p99_ms": p99(health),
    }


async def ask(http: aiohttp.ClientSession) -> tuple[int, float]:
    """One request: its status, and how long it took."""
    began = time.perf_counter()
    async with http.post("/v1/chat/completions", json=BODY) as answer:
        await answer.read()
    return answer.status, time.perf_counter() - began


async def watch(http: aiohttp.ClientSession, took: list[float]) -> None:
    """Ask for health, twenty times a second."""
    while True:
        began = time.perf_counter()
        async with http.get("/readyz") as answer:
            assert answer.status == 200
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.05)


def p99(seconds: list[float]) -> float:
    """The 99th percentile, in milliseconds."""
    return round(sorted(seconds)[int(len(seconds) * 0.99)] * 1000, 2)


@contextlib.contextmanager
def part(*arguments: str) -> Iterator[list[str]]:
    """One of this program's processes; the words that it told when it was ready."""
    command = [sys.executable, "-m", "benchmarks.overload", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        yield child.stdout.readline().split()
        child.stdin.close()


def main(arguments: tuple[str, ...] = ()) -> None:
    """Run one of the parts, or all of them and tell the figures."""
    match arguments:
        case ("engine",):
            uvloop.run(serve_engine())
        case ("gateway", home, upstream):
            uvloop.run(serve_gateway(Path(home), upstream))
        case _:
            with tempfile.TemporaryDirectory(prefix="charkha-", dir="/tmp") as scratch:
                Path(scratch).chmod(0o711)  # as root, the server's user has to pass
                with part("engine") as (upstream,), part("gateway", f"{scratch}/home", upstream) as (url, key):
                    write("overload", uvloop.run(measure(url, key)))


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
