"""The fault proxy does to a connection what its values say, and nothing where there is no fault."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from charkha.testing.fake_engine import FakeModel
from charkha.testing.fault_proxy import FAULTS, Cut, Drip, FaultProxy, Hang, Refused, Reset, Says, fault_proxy
from charkha.testing.serving import serving

pytestmark = pytest.mark.anyio
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    async with serving(FakeModel()) as upstream, fault_proxy(upstream) as proxy:
        yield proxy


async def ask(proxy: FaultProxy, seconds: float = 5) -> bytes:
    """A whole answer, over a connection of its own."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        http.post(f"{proxy.url}/v1/chat/completions", json=HELLO) as answer,
    ):
        return await answer.read()


async def test_without_a_fault_everything_passes(proxy: FaultProxy) -> None:
    assert b"echo: hello there" in await ask(proxy)
    assert proxy.accepted == 1


async def test_refused_and_back_again(proxy: FaultProxy) -> None:
    url = proxy.url
    await proxy.put(Refused())
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(proxy)
    await proxy.put(None)
    assert proxy.url == url
    assert b"echo" in await ask(proxy)


async def test_reset_is_a_reset_and_cut_is_an_end(proxy: FaultProxy) -> None:
    host, port = proxy.url.removeprefix("http://").split(":")
    for fault, raises in ((Reset(), True), (Reset(after=20), True), (Cut(after=20), False)):
        await proxy.put(fault)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 75\r\n\r\n")
        writer.write(b'{"model": "tiny", "messages": [{"role": "user", "content": "hello there"}]}')
        came = b""
        with pytest.raises(ConnectionResetError) if raises else contextlib.nullcontext():
            while data := await reader.read(1):
                came += data
        assert came == (b"" if fault == Reset() else b"HTTP/1.1 200 OK\r\ndat"[: len(came)])
        assert raises or len(came) == 20
        writer.close()


async def test_a_drip_comes_in_pieces_and_a_hang_not_at_all(proxy: FaultProxy) -> None:
    await proxy.put(Drip(pause=0.001, size=50))
    assert b"echo" in await ask(proxy)
    for fault in (Hang(), Hang(after=40)):
        await proxy.put(fault)
        with pytest.raises(TimeoutError):
            await ask(proxy, 0.2)


async def test_what_it_says_itself(proxy: FaultProxy) -> None:
    await proxy.put(Says(b"nonsense", status=500))
    assert await ask(proxy) == b"nonsense"
    await proxy.put(Says(b"{}", length=1))
    with pytest.raises(aiohttp.ClientError):
        await ask(proxy)
    await proxy.put(Says(b"{}", length=3))
    with pytest.raises(TimeoutError):
        await ask(proxy, 0.2)


async def test_it_leaves_nothing_open(proxy: FaultProxy) -> None:
    for fault in FAULTS.values():
        await proxy.put(fault)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            await ask(proxy, 0.1)
    await proxy.close()
    assert proxy.open == 0
