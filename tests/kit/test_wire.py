"""The hot path's own HTTP client, against servers that say what they please."""

import asyncio
import datetime
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.kit import egress, wire

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nX-Told: yes\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Sum: 5\r\n\r\n"
Says = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Counts connections and requests; `says` answers each request."""

    def __init__(self, says: Says) -> None:
        self._says, self.connections, self.requests, self.ended = says, 0, list[bytes](), asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                await self._says(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def server(says: Says | bytes, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Server, int]]:
    async def told(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(says, bytes)
        writer.write(says)
        await writer.drain()

    running = Server(told if isinstance(says, bytes) else says)
    listening = await asyncio.start_server(running.serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield running, listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


@asynccontextmanager
async def client(keepalive: float = 30.0) -> AsyncIterator[wire.Session]:
    session = wire.Session(allowed_hosts=["127.0.0.1", "localhost"], keepalive=keepalive)
    yield session
    await session.close()


async def post(session: wire.Session, port: int, *, scheme: str = "http", host: str = "127.0.0.1") -> wire.Answer:
    headers = {"Content-Type": "application/json"}
    return await session.post(f"{scheme}://{host}:{port}/v1/chat?a=b", data=b"{}", headers=headers)


async def test_an_answer_and_its_request() -> None:
    async with server(OK) as (told, port), client() as session, await post(session, port) as answer:
        assert (answer.status, answer.headers["x-told"], await answer.read()) == (200, "yes", b"hello")
    head, _, body = told.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat?a=b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)
    assert b"\r\nContent-Length: 2" in head
    assert body == b"{}"


@pytest.mark.parametrize("said", [OK, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK])
async def test_a_connection_is_used_again(said: bytes) -> None:
    async with server(said) as (told, port), client() as session:
        for _ in range(5):
            async with await post(session, port) as answer:
                assert await answer.read() == b"hello"
    assert (told.connections, len(told.requests)) == (1, 5)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, len(CHUNKED) - 1), max_size=6), said=st.sampled_from([OK, CHUNKED]))
def test_an_answer_is_the_same_wherever_the_network_cuts_it(cuts: list[int], said: bytes) -> None:
    async def in_pieces(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        edges = [0, *sorted({cut for cut in cuts if cut < len(said)}), len(said)]
        for start, end in itertools.pairwise(edges):
            writer.write(said[start:end])
            await asyncio.sleep(0.001)

    async def once() -> None:
        async with server(in_pieces) as (_, port), client() as session, await post(session, port) as answer:
            assert await answer.read() == b"hello"

    asyncio.run(once())


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def said(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhel")
        await asyncio.sleep(0.01)
        writer.write(b"lo")
        writer.close()

    async with server(said) as (told, port), client() as session:
        for _ in range(2):
            async with await post(session, port) as answer:
                assert await answer.read() == b"hello"
    assert told.connections == 2


async def test_a_connection_that_is_to_be_closed_is_not_used_again() -> None:
    said = OK.replace(b"X-Told: yes", b"Connection: close")
    async with server(said) as (told, port), client() as session:
        for _ in range(2):
            async with await post(session, port) as answer:
                assert await answer.read() == b"hello"
    assert told.connections == 2


async def test_an_answer_that_was_not_read_to_its_end_closes_its_connection() -> None:
    async with server(OK[:-2]) as (told, port), client() as session:
        async with await post(session, port) as answer:
            assert answer.status == 200
        await asyncio.wait_for(told.ended.wait(), 5)


@pytest.mark.parametrize("said", [b"", OK[:20]])
async def test_an_end_before_the_answer_is_told(said: bytes) -> None:
    async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async with server(broken) as (_, port), client() as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await post(session, port)


@pytest.mark.parametrize("said", [OK[:-1], CHUNKED[:-20]])
async def test_an_answer_that_breaks_off_is_no_answer(said: bytes) -> None:
    async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await asyncio.sleep(0.01)
        writer.transport.abort()

    async with server(broken) as (_, port), client() as session:
        answer = await post(session, port)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 30_000, b"HTTP/1.1 20x\r\n\r\n"]
)
async def test_what_is_no_answer_is_refused(said: bytes) -> None:
    async with server(said) as (_, port), client() as session:
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(post(session, port), 5)


async def test_chunks_that_are_none_break_the_answer() -> None:
    async with server(CHUNKED.replace(b"3;x=y", b"zz")) as (_, port), client() as session:
        with pytest.raises(aiohttp.ClientPayloadError):
            await (await post(session, port)).read()


async def test_an_answer_that_nobody_asked_for_reaches_nobody() -> None:
    async with server(OK + OK.replace(b"hello", b"other")) as (told, port), client() as session:
        for _ in range(3):
            async with await post(session, port) as answer:
                assert await answer.read() == b"hello"
    assert told.connections == 3


async def test_where_nobody_listens_nothing_was_sent() -> None:
    async with server(OK) as (_, port):
        pass
    async with client() as session:
        with pytest.raises(ConnectionError) as told:
            await post(session, port)
    assert isinstance(told.value, wire.Unreachable)
    assert f"127.0.0.1:{port}" in str(told.value)


async def test_a_name_that_nobody_has_cannot_be_reached() -> None:
    async with client() as session:
        with pytest.raises(wire.Unreachable):
            await post(session, 80, host="nobody.invalid")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_private_addresses_are_refused_unless_they_are_allowed(host: str) -> None:
    async with server(OK) as (told, port):
        session = wire.Session()
        with pytest.raises(egress.Refused):
            await post(session, port, host=host)
        await session.close()
    assert told.connections == 0


async def test_a_wait_that_is_given_up_ends_the_connection() -> None:
    async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    async with server(silent) as (told, port), client() as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await post(session, port)
        await asyncio.wait_for(told.ended.wait(), 5)


async def test_a_reader_that_does_not_read_holds_the_engine_back() -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 2**16)
            sent += 2**16
            await writer.drain()

    async with server(endless) as (_, port), client() as session, await post(session, port) as answer:
        await asyncio.sleep(0.3)
        held = sent
        await asyncio.sleep(0.3)
        assert sent == held < 2**26
        async for _ in answer.iter_any():
            if sent > held + 2**22:
                break
    assert sent > held


async def test_idle_connections_are_ended() -> None:
    async with server(OK) as (told, port), client(keepalive=0.1) as session:
        async with await post(session, port) as answer:
            await answer.read()
        await asyncio.wait_for(told.ended.wait(), 5)


async def test_a_connection_that_the_engine_has_ended_is_not_used() -> None:
    async def once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await asyncio.sleep(0.01)
        writer.close()

    async with server(once) as (told, port), client() as session:
        for _ in range(3):
            async with await post(session, port) as answer:
                assert await answer.read() == b"hello"
            await asyncio.wait_for(told.ended.wait(), 5)
            told.ended.clear()
            await asyncio.sleep(0.1)  # until we have seen it too
    assert told.connections == 3


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http:///v1", "http://a b/", "http://a/\r\nX: y", "http://a:x/"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        wire.place_of(url)


async def test_a_header_cannot_bring_another_one() -> None:
    async with server(OK) as (told, port), client() as session:
        with pytest.raises(ValueError):
            await session.post(f"http://127.0.0.1:{port}/", data=b"", headers={"Authorization": "x\r\nX-Evil: y"})
    assert told.connections == 0


def certificate(directory: Path) -> Path:
    """A certificate for localhost, and its key, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "t")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = directory / "both.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return file


async def test_a_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    async with server(OK, tls=context) as (_, port):
        async with client() as strict:
            with pytest.raises(wire.Unreachable):
                await post(strict, port, scheme="https", host="localhost")
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        async with client() as trusting:
            async with await post(trusting, port, scheme="https", host="localhost") as answer:
                assert await answer.read() == b"hello"
            with pytest.raises(wire.Unreachable):  # a certificate for another name
                await post(trusting, port, scheme="https")
