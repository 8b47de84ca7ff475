"""How many requests a second one gateway process answers, and what it adds to each.

Three processes on this machine: an upstream that answers at once, the gateway as it is run (real keys and routes from
its own PostgreSQL, durable records in the spool), and this one, a closed loop of raw sockets. The same load straight
onto the upstream is the baseline. Writes `benchmarks/results/gateway.json`.

Run: python -m benchmarks.gateway [--seconds 10] [--connections 64]
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import uvloop

from benchmarks import report
from charkha.govern import keyring
from charkha.govern.directory import Directory
from charkha.govern.keyring import Authenticator
from charkha.govern.keys import KeyService
from charkha.govern.limits import store as limit_store
from charkha.govern.limits.leases import Leases
from charkha.govern.limits.meter import Meter
from charkha.govern.limits.service import LimitService
from charkha.govern.permissions import ALL
from charkha.govern.prices import service as price_service
from charkha.kit import egress
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.kit.postgres import launcher
from charkha.kit.postgres.migrate import upgrade
from charkha.kit.snapshot import Snapshots
from charkha.kit.spool import SpoolWriter
from charkha.serve import routes
from charkha.serve.gateway import Gateway, GatewayLimits
from charkha.serve.service import EndpointService
from charkha.serve.variants import VariantSpec
from charkha.testing.fake_engine import FakeEngine
from charkha.testing.serving import serving

BODY = json.dumps({"model": "bench", "messages": [{"role": "user", "content": "How many roads? " * 8}]}).encode()
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Forty-two. " * 8}, "finish_reason": "stop"}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [CHOICE],
        "usage": {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50},
    },
    separators=(",", ":"),
).encode()


class Upstream(asyncio.Protocol):
    """Answers each request, as soon as its body is whole, with the same bytes."""

    reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self._buffer += data
        while (end := message_end(self._buffer)) is not None:
            self._buffer = self._buffer[end:]
            self._transport.write(self.reply)  # type: ignore[attr-defined]


class Client(asyncio.Protocol):
    """Sends one request after the other on one connection, and notes how long each took."""

    def __init__(self, request: bytes, took: list[float], failed: list[bytes]) -> None:
        self._request, self._took, self._failed = request, took, failed
        self._buffer, self.running = b"", True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Note the answer and send the next."""
        self._buffer += data
        end = message_end(self._buffer)
        if end is None:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self._failed.append(self._buffer[:200])
        self._buffer = self._buffer[end:]
        self._took.append(time.perf_counter() - self._sent)
        if self.running:
            self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)  # type: ignore[attr-defined]


def message_end(buffer: bytes) -> int | None:
    """Where the first HTTP message in a buffer ends, or None while it is not whole."""
    head, blank, rest = buffer.partition(b"\r\n\r\n")
    if not blank:
        return None
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    return len(head) + 4 + length if len(rest) >= length else None


async def load(url: str, key: str, connections: int, seconds: float) -> dict[str, float]:
    """Requests a second and percentiles of their duration, in milliseconds."""
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
    request = f"{head}content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY
    took: list[float] = []
    failed: list[bytes] = []
    loop, clients = asyncio.get_running_loop(), [Client(request, took, failed) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, host, int(port))
    await asyncio.sleep(1)  # warm
    took.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed, counted = time.perf_counter() - began, sorted(took)
    for client in clients:
        client.running = False
    await asyncio.sleep(0.2)
    if failed:
        raise SystemExit(f"{len(failed)} requests failed: {failed[0]!r}")
    at = {name: counted[int(len(counted) * share)] * 1000 for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {"per_second": round(len(counted) / elapsed, 1), **{f"{name}_ms": round(ms, 3) for name, ms in at.items()}}


async def serve_upstream() -> None:
    """The upstream's process: tells its address, then serves until its standard input ends."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def serve_gateway(home: Path, upstream: str) -> None:
    """The gateway's process: tells its address and a key, then serves until its standard input ends."""
    running = launcher.start(home)
    upgrade(running.migration_url)
    database, jobs = Database(running.database_url), Jobs(running.database_url)
    secrets, snapshots = Secrets.load(home / "secrets"), Snapshots(database)
    key = await endpoint(database, jobs, secrets)
    loaders = (
        ("keys", keyring.load),
        (routes.ROUTES, routes.load),
        (routes.VERSIONS, no_versions),
        (limit_store.LIMITS, limit_store.load),
        (price_service.PRICES, price_service.load),
    )
    for name, loader in loaders:
        snapshots.register(name, loader)
    await snapshots.start()
    gateway = Gateway(
        authenticator=Authenticator(secrets, snapshots),
        snapshots=snapshots,
        engines={"local": FakeEngine(upstream)},
        base_models={},
        session_factory=lambda: egress.session(allowed_hosts=["127.0.0.1"]),
        spool=SpoolWriter(home / "spool", "bench"),
        secrets=secrets,
        limits=GatewayLimits(max_in_flight=1024),
        ensure_adapter=no_adapter,
        meter=Meter(snapshots, Leases(database, "bench")),
    )
    await gateway.start()
    async with serving(gateway) as address:
        print(address, key, os.getpid(), flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await gateway.stop()
    await snapshots.stop()
    await jobs.close()
    await database.close()
    running.stop()


async def endpoint(database: Database, jobs: Jobs, secrets: Secrets) -> str:
    """An installation with one endpoint; returns a key for it."""
    await jobs.open()
    directory = Directory(database, KeyService(secrets))
    await directory.prepare()
    first = await directory.first_run()
    assert first is not None
    service = EndpointService(EventLog(database, jobs), NoVersions(), {"local"})
    async with database.workspace(first.workspace_id, "bench") as tx:
        await service.create(tx, name="bench", variant=VariantSpec(engine="local", model="tiny"))
    await limits(database, first.workspace_id)
    return first.application.key


async def limits(database: Database, workspace_id: UUID) -> None:
    """A price, and limits that hold for every request without refusing any."""
    async with database.begin("charkha_system") as conn:
        organisation_id = (await keyring.load(conn)).organisations[workspace_id]
    owner = keyring.Principal("system:bench", organisation_id, workspace_id, ALL)
    terms = {"engine": "local", "model": "tiny", "currency": "EUR", "prompt": 10**6, "completion": 3 * 10**6}
    async with database.workspace(workspace_id, "bench") as tx:
        await price_service.PriceService().add(tx, owner, subject="workspace", **terms)
        for measure, window, currency in (
            ("requests", "minute", None),
            ("tokens", "day", None),
            ("money", "month", "EUR"),
        ):
            wanted = {"measure": measure, "window": window, "currency": currency, "amount": 10**12}
            await LimitService().create(tx, owner, subject="workspace", key_id=None, **wanted)


class NoVersions:
    """A registry that has none."""

    async def get(self, tx: object, reference: object) -> None:
        """Never asked."""
        raise LookupError(reference)


async def no_versions(_: object) -> dict[object, object]:
    """No versions."""
    return {}


async def no_adapter(*_: object) -> None:
    """No adapters."""


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used: steadier than the clock on a machine that is shared."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def part(*arguments: str) -> Iterator[list[str]]:
    """One of this program's processes; the words that it told when it was ready."""
    command = [sys.executable, "-m", "benchmarks.gateway", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        yield child.stdout.readline().split()
        child.stdin.close()


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Where the installation of this run lives; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="charkha-", dir="/tmp") as scratch:
        Path(scratch).chmod(0o711)  # as root, the server's user has to pass
        yield Path(scratch) / "home"


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """All figures, flat."""
    found: dict[str, float] = {"connections": options.connections, "seconds": options.seconds}
    with (
        directory() as home,
        part("upstream") as (upstream,),
        part("gateway", str(home), upstream) as (gateway, key, pid),
    ):
        for name, url, count in (
            ("direct", upstream, options.connections),
            ("gateway", gateway, options.connections),
            ("direct_one", upstream, 1),
            ("gateway_one", gateway, 1),
        ):
            before = cpu_seconds(int(pid))
            figures = await load(url, key, count, options.seconds)
            found |= {f"{name}_{figure}": value for figure, value in figures.items()}
            if url == gateway:
                spent = cpu_seconds(int(pid)) - before
                found[f"{name}_cpu_us"] = round(spent / (figures["per_second"] * (options.seconds + 1)) * 1e6, 1)
    found["added_p50_ms"] = round(found["gateway_one_p50_ms"] - found["direct_one_p50_ms"], 3)
    return found


def main(arguments: Sequence[str] = ()) -> None:
    """Run one of the parts, or all of them and tell the figures."""
    match arguments:
        case ["upstream"]:
            uvloop.run(serve_upstream())
        case ["gateway", home, upstream]:
            uvloop.run(serve_gateway(Path(home), upstream))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--seconds", type=float, default=10.0)
            parser.add_argument("--connections", type=int, default=64)
            report.write("gateway", uvloop.run(measure(parser.parse_args(arguments))))


if __name__ == "__main__":
    main(sys.argv[1:])
