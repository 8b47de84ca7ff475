"""Every fault of a network and of an engine, in each dialect, streamed and whole: what the client is told, what it is charged.

CHARKHA_FAULT_REPEATS is how often each is tried in each dialect (2; `make chaos` has it tried 100 times).
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest

from charkha.serve.gateway import GatewayLimits
from charkha.serve.routing.breaker import Breaker, Thresholds
from charkha.testing.fault_proxy import FAULTS, Fault, FaultProxy, Says, fault_proxy

from .conftest import Rig
from .test_limits import limit

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(0)]
REPEATS, AT_ONCE = int(os.environ.get("CHARKHA_FAULT_REPEATS", "2")), 50
SECONDS, SLACK = 1.5, 8.0  # the slack is for a machine that does other things, not for the gateway
LONG = "word " * 400


class Call(NamedTuple):
    """A way to ask."""

    path: str
    body: dict[str, Any]
    stream: bool


class Told(NamedTuple):
    """What a client was told: a status, or None for an error in mid stream; the error's code or type."""

    status: int | None
    code: str


def calls(name: str = "") -> list[Call]:
    """Every way to ask that the fault can meet: an embedding is too short to have a middle."""
    chat = {"messages": [{"role": "user", "content": LONG}], "max_tokens": 2_000}
    asked = {
        "/chat/completions": chat,
        "/messages": chat,
        "/responses": {"input": LONG, "max_output_tokens": 2_000},
        "/completions": {"prompt": LONG, "max_tokens": 2_000},
    }
    both = [
        Call(path, {"model": "tiny", **body, "stream": stream}, stream)
        for path, body in asked.items()
        for stream in (True, False)
    ]
    return both if name in STARTED else [*both, Call("/embeddings", {"model": "tiny", "input": LONG}, False)]


STARTED = frozenset({"reset in mid answer", "half a body", "a slow drip", "a hang after the first byte"})
CODES = {
    "refused": (503, {"engine_unavailable"}),
    "reset": (503, {"engine_unavailable"}),
    "reset in mid answer": (502, {"engine_lost"}),
    "half a body": (502, {"engine_lost"}),
    "a slow drip": (504, {"timeout"}),
    "a hang before the first byte": (504, {"timeout"}),
    "a hang after the first byte": (504, {"timeout"}),
    "bad JSON": (502, {"engine_failed", "engine_lost"}),
    "too short a length": (502, {"engine_failed", "engine_lost"}),
    "too long a length": (504, {"timeout"}),
    "a 500": (502, {"engine_failed"}),
}
MORE: dict[str, Fault] = {
    "nothing but depth": Says(b"[" * 100_000),
    "depth in an event": Says(b"data: " + b"[" * 100_000 + b"\n\n", kind="text/event-stream"),
    "half an event": Says(b'data: {"choices": [{"index"\n\n', kind="text/event-stream"),
    "no text": Says(b'data: {"id": "\xff\xfe"}\n\n', kind="text/event-stream"),
    "another page": Says(b"<html>hello</html>", kind="text/html"),
    "other types": Says(b'data: {"choices": {"a": 1}, "usage": []}\n\n', kind="text/event-stream"),
    "an error as an answer": Says(b'data: {"error": {"message": "boom"}}\n\n', kind="text/event-stream"),
}
ANTHROPIC = {502: "api_error", 503: "overloaded_error", 504: "timeout_error"}


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(request_seconds=SECONDS, engine_patience_seconds=0.3, drain_seconds=1)


@pytest.fixture
async def proxy(rig: Rig) -> AsyncIterator[FaultProxy]:
    """The rig's engine, behind a proxy."""
    async with fault_proxy(rig.engine.address) as proxy:
        rig.engine.address = proxy.url
        yield proxy


async def tell(rig: Rig, http: aiohttp.ClientSession, call: Call) -> Told:
    """What a client is told; that it is told in time is asserted here."""
    began = time.monotonic()
    async with http.post(f"{rig.url}{call.path}", json=call.body) as answer:
        content = await answer.read()
    assert time.monotonic() - began < SECONDS + SLACK
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert b"[DONE]" not in content
        return Told(None, code_of(call, content.rstrip().rpartition(b"data: ")[2]))
    assert answer.status not in (503, 504) or answer.headers["retry-after"]
    assert answer.headers["x-request-id"]
    return Told(answer.status, code_of(call, content))


def code_of(call: Call, body: bytes) -> str:
    """The word by which programs know the error, in the form of each API."""
    told = json.loads(body)
    if call.path == "/messages":
        assert told["type"] == "error"
        kind: str = told["error"]["type"]
        return kind
    code: str = told["code"] if told.get("type") == "error" else told["error"]["code"]
    return code


def right(call: Call, told: Told, name: str) -> bool:
    """Whether a client was told what it should: a status, or an event where the answer had begun."""
    status, codes = CODES.get(name, (502, {"engine_failed", "engine_lost"}))
    if call.path == "/messages":
        codes = {ANTHROPIC[status]}
    known = name in CODES and not (name in STARTED and status == 504)  # a slow machine may not have begun by then
    begun = {name in STARTED} if known else {True, False}
    allowed = {None if call.stream and each else status for each in begun}
    return told.status in allowed and told.code in codes


async def tried(rig: Rig, every: list[Call]) -> list[tuple[Call, Told]]:
    """Ask in every way, some at once."""
    places = asyncio.Semaphore(AT_ONCE)
    headers = {"authorization": f"Bearer {rig.key}"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as http:

        async def one(call: Call) -> tuple[Call, Told]:
            async with places:
                return call, await tell(rig, http, call)

        return await asyncio.gather(*(one(call) for call in every))


async def limited(rig: Rig) -> None:
    """Limits of every measure that a request takes, none of them near its end."""
    await limit(rig, "requests", 100_000, window="day")
    await limit(rig, "tokens", 1_000_000_000, window="day")
    await limit(rig, "concurrency", 1_000)


def settled(rig: Rig, requests: int) -> None:
    """Each request has one open and one close record, and what is gone of each limit is what these charge."""
    opened, closed = rig.records()
    assert len({record.id for record in opened}) == len(opened) == len(closed) == requests
    assert {record.id for record in opened} == {record.id for record in closed}
    assert all(record.status != 200 and record.error_code for record in closed)
    reserved = {(record.id, limit_id): units for record in opened for limit_id, _, units in record.reserved}
    spent: dict[Any, int] = {}
    for record in closed:
        for limit_id, _, units in record.charges:
            assert units <= reserved[record.id, limit_id]
            spent[limit_id] = spent.get(limit_id, 0) + units
    for account in rig.gateway._meter._accounts.values():
        part = account.part
        gone = part.granted - part.available if part is not None else 0
        assert gone == spent.get(account.limit.id, 0), account.limit.measure
        assert account.limit.measure != "requests" or gone == requests


async def at_rest(rig: Rig, proxy: FaultProxy, tasks: int) -> None:
    """Nothing that a request took is still taken: places, tasks, connections."""
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > tasks or rig.gateway._room.taken or rig.model.running:
            await asyncio.sleep(0.02)
    assert proxy.open <= AT_ONCE


@pytest.mark.parametrize("name", [*FAULTS, *MORE])
async def test_each_fault_is_told_in_time_and_charged_once(rig: Rig, proxy: FaultProxy, name: str) -> None:
    rig.gateway.health["local"].breaker = Breaker(Thresholds(minimum=1_000_000))  # every request meets the fault itself
    await limited(rig)
    every = calls(name) * REPEATS
    await tried(rig, [])
    before = len(asyncio.all_tasks())
    await proxy.put({**FAULTS, **MORE}[name])
    for call, told in await tried(rig, every):
        assert right(call, told, name), (call.path, call.stream, told)
    await proxy.close()
    await at_rest(rig, proxy, before)
    settled(rig, len(every))
    assert len(rig.model.requests) <= 2 * len(every), "a request that broke its engine is tried once more at most"


@pytest.mark.parametrize(
    "name", ["refused", "reset", "half a body", "a hang before the first byte", "bad JSON", "a 500"]
)
async def test_the_breaker_opens_while_a_fault_lasts_and_closes_after_it(
    rig: Rig, proxy: FaultProxy, name: str
) -> None:
    breaker = rig.gateway.health["local"].breaker = Breaker(Thresholds(minimum=4, pause=0.2, longest=0.2))
    await proxy.put(FAULTS[name])
    while breaker.state(time.monotonic()) == "closed":
        await tried(rig, calls(name)[:4])
    assert {told.status for _, told in await tried(rig, calls(name)[:4])} <= {502, 503, 504, None}
    await proxy.put(None)
    chat = calls()[1]
    async with asyncio.timeout(10), aiohttp.ClientSession(headers={"authorization": f"Bearer {rig.key}"}) as http:
        while True:
            async with http.post(f"{rig.url}{chat.path}", json=chat.body) as answer:
                if answer.status == 200:
                    break
            await asyncio.sleep(0.05)
    assert breaker.state(time.monotonic()) == "closed"


async def test_after_a_fault_everything_is_as_before(rig: Rig, proxy: FaultProxy) -> None:
    rig.gateway.health["local"].breaker = Breaker(Thresholds(minimum=1_000_000))
    for fault in (FAULTS["reset in mid answer"], FAULTS["bad JSON"], FAULTS["too short a length"], FAULTS["refused"]):
        await proxy.put(fault)
        await tried(rig, calls()[:2])
        await proxy.put(None)
        async with rig.client() as client:
            answer = await client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "a"}])
            assert answer.choices[0].message.content == "echo: a"


async def test_an_event_without_end_is_cut(rig: Rig, proxy: FaultProxy) -> None:
    await proxy.put(Says(b"data: " + b"x" * 9_000_000, kind="text/event-stream"))
    ((_, told),) = await tried(rig, calls()[:1])
    assert told == Told(502, "engine_failed")
