"""Passing requests on to the console's process: bytes both ways as they come, and what happens when either side leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from charkha.app.forwarding import Forwarder, answers, listen
from charkha.testing.serving import serving

pytestmark = pytest.mark.anyio


class Behind:
    """The application behind the socket: echoes, streams for ever, or breaks off, by path."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append({"path": scope["raw_path"], "query": scope["query_string"], "headers": dict(scope["headers"])})
        self.seen[-1]["scheme"] = scope["scheme"]
        if scope["path"] == "/console/live":
            await self._stream(receive, send)
        else:
            await self._echo(scope, receive, send)

    async def _echo(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status = 200 if scope["path"] != "/console/redirect" else 303
        headers = [(b"x-one", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"location", b"/console/")]
        if scope["path"] == "/console/broken":
            headers.append((b"content-length", b"1000"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body or scope["method"].encode()})

    async def _stream(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 0\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


@asynccontextmanager
async def behind(path: Path) -> AsyncIterator[Behind]:
    """The application, served on a socket at `path`."""
    application = Behind()
    config = uvicorn.Config(
        application, lifespan="off", log_level="critical", proxy_headers=True, forwarded_allow_ips="*"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listen(path)]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield application
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


@asynccontextmanager
async def front(path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the forwarder."""
    forwarder = Forwarder(path)

    async def gateway(scope: Any, receive: Any, send: Any) -> None:  # as one that no proxy stands before
        await forwarder({**scope, "scheme": "http"}, receive, send)

    async with serving(gateway) as address, httpx.AsyncClient(base_url=address, trust_env=False) as client:
        yield client
    await forwarder.close()


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """A socket deeper than an address of one may be long."""
    return tmp_path / ("deep" * 30) / "console.sock"


async def test_a_request_and_its_answer_pass_unchanged(socket: Path) -> None:
    async with behind(socket) as application, front(socket) as client:
        answer = await client.post("/console/a%2Fb?q=%20x", content=b"\x00\xff" * 50_000, headers={"x-mine": "yes"})
    assert answer.content == b"\x00\xff" * 50_000
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    seen = application.seen[0]
    assert (seen["path"], seen["query"]) == (b"/console/a%2Fb", b"q=%20x")
    assert seen["headers"][b"x-mine"] == b"yes"
    assert seen["scheme"] == "http"


async def test_a_client_cannot_say_how_it_came(socket: Path) -> None:
    async with behind(socket) as application, front(socket) as client:
        await client.get("/console/", headers={"x-forwarded-proto": "https", "x-forwarded-for": "10.0.0.1"})
    assert application.seen[0]["scheme"] == "http"
    assert b"x-forwarded-for" not in application.seen[0]["headers"]


async def test_a_redirect_is_passed_on_and_not_followed(socket: Path) -> None:
    async with behind(socket), front(socket) as client:
        answer = await client.get("/console/redirect")
    assert answer.status_code == 303


async def test_a_stream_comes_as_it_is_made_and_ends_when_its_reader_leaves(socket: Path) -> None:
    async with behind(socket) as application, front(socket) as client:
        async with client.stream("GET", "/console/live") as answer:
            first = await anext(answer.aiter_lines())
            assert first == "data: 0"
        async with asyncio.timeout(5):
            await application.left.wait()


async def test_an_answer_that_breaks_off_never_looks_whole(socket: Path) -> None:
    async with behind(socket), front(socket) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/console/broken")


async def test_without_the_process_a_page_says_that_it_is_starting(socket: Path) -> None:
    socket.parent.mkdir(parents=True)
    assert not answers(socket)
    async with front(socket) as client:
        answer = await client.get("/console/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert "starting" in answer.text


async def test_a_socket_is_for_its_user_alone_and_replaces_what_a_dead_process_left(socket: Path) -> None:
    async with behind(socket):
        assert socket.stat().st_mode & 0o777 == 0o600
        assert await asyncio.to_thread(lambda: not answers(socket.with_name("other.sock")))
    async with behind(socket), front(socket) as client:
        assert (await client.get("/console/")).status_code == 200
