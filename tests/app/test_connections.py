"""Slow, endless and malformed connections against a gateway as it is served: each is bounded, and told why where it can be."""

import asyncio
import contextlib
import http.client
import json
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from charkha.app import http as front
from charkha.app.connections import Bounds, allowed
from charkha.kit.postgres import launcher
from tests.app.front import House, fresh_database, house

BOUNDS = Bounds(head_seconds=1.0, stalled_seconds=1.0, closing_seconds=1.0, ahead=16, connections=120)
HELLO = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}).encode()


@pytest.fixture(scope="module")
def running(migrated_server: launcher.Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("connections") / "home"
    limits = {"request_seconds": 3, "max_body_bytes": 2**20}
    with fresh_database(migrated_server) as urls, house(urls, home, bounds=BOUNDS, limits=limits) as running:
        yield running


def _head(running: House, *headers: str, path: str = "/v1/chat/completions") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"authorization: Bearer {running.key}"]
    return "\r\n".join([*lines, "content-type: application/json", *headers, "", ""]).encode()


def _answer(connection: socket.socket) -> tuple[int, dict[str, Any], bool]:
    """Status, error and whether the server closed the connection afterwards."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    return response.status, json.loads(body).get("error", {}), response.will_close


def _closed(connection: socket.socket, seconds: float = 15) -> bool:
    """Whether the server closes a connection to which nobody says anything any more."""
    connection.settimeout(seconds)
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def _works(running: House) -> bool:
    with running.client() as client:
        answer = client.post("/v1/chat/completions", content=HELLO, headers={"content-type": "application/json"})
        return answer.status_code == 200 and client.get("/healthz").status_code == 200


def _quiet(running: House) -> bool:
    """Whether no request is under way in the gateway any more."""
    deadline = time.monotonic() + 20
    while len(asyncio.all_tasks(running.loop)) > running.tasks and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(asyncio.all_tasks(running.loop)) <= running.tasks


def test_a_head_that_never_ends_is_given_up(running: House) -> None:
    """Slowloris: a header now and then, and connections on which nothing is ever said."""
    slow, silent = running.connect(), running.connect()
    slow.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n")
    with contextlib.suppress(OSError):
        for number in range(40):
            slow.sendall(b"x-%d: y\r\n" % number)
            time.sleep(0.1)
    status, error, closed = _answer(slow)
    assert (status, error["code"], closed) == (408, "request_timeout", True)
    status, error, closed = _answer(silent)
    assert (status, error["code"], closed) == (408, "request_timeout", True)
    assert _works(running)


def test_a_connection_that_is_kept_alive_may_not_hang_in_its_next_head(running: House) -> None:
    connection = running.connect()
    connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    assert _answer(connection)[0] == 200
    connection.sendall(b"GET /heal")
    assert _answer(connection)[0] == 408


@pytest.mark.parametrize(
    "flood",
    [b"x-a: " + b"y" * 200_000, b"".join(b"x-%d: y\r\n" % number for number in range(20_000))],
    ids=["one", "many"],
)
@pytest.mark.parametrize("ends", [True, False])
def test_a_head_that_is_too_large_is_refused(running: House, flood: bytes, ends: bool) -> None:
    connection = running.connect()
    with contextlib.suppress(OSError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n" + flood + (b"\r\n\r\n" if ends else b""))
    status, error, closed = _answer(connection)
    assert (status, error["code"], closed) == (431, "headers_too_large", True)
    assert error["remedy"]


def test_a_target_that_is_too_long_is_refused(running: House) -> None:
    connection = running.connect()
    connection.sendall(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    assert _answer(connection)[0] in (400, 431)


def test_a_large_head_under_the_bound_passes(running: House) -> None:
    connection = running.connect()
    connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: " + b"y" * 60_000 + b"\r\n\r\n")
    assert _answer(connection)[0] == 200


SMUGGLED = {
    "both lengths": ["content-length: 5", "transfer-encoding: chunked"],
    "two lengths": ["content-length: 5", "content-length: 6"],
    "a list of lengths": ["content-length: 5, 5"],
    "a signed length": ["content-length: +5"],
    "a negative length": ["content-length: -5"],
    "a length with letters": ["content-length: 5x"],
    "an endless length": ["content-length: " + "9" * 5_000],
    "an unknown coding": ["transfer-encoding: xchunked"],
    "chunked not last": ["transfer-encoding: chunked, identity"],
    "space before a colon": ["transfer-encoding : chunked"],
    "a folded header": ["x-a: b", " transfer-encoding: chunked"],
    "a bare line feed": ["x-a: b\ntransfer-encoding: chunked"],
    "a NUL": ["x-a: b\x00c"],
}


@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=list(SMUGGLED))
def test_what_two_servers_could_read_in_two_ways_is_refused(running: House, headers: list[str]) -> None:
    connection = running.connect()
    connection.sendall(_head(running, *headers) + b"0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    status, error, closed = _answer(connection)
    assert (400 <= status < 500, closed) == (True, True), (status, error)
    assert error["remedy"] or error["message"]


def test_trailers_are_no_headers(running: House) -> None:
    connection = running.connect()
    head = _head(running, "transfer-encoding: chunked").replace(b"authorization", b"x-nothing")
    body = b"%x\r\n%s\r\n0\r\nauthorization: Bearer %s\r\n\r\n" % (len(HELLO), HELLO, running.key.encode())
    connection.sendall(head + body)
    assert _answer(connection)[0] == 401


@pytest.mark.parametrize("part", [b"5;", b"0\r\nx-a: "], ids=["a chunk's extension", "a trailer"])
def test_what_stands_around_a_body_is_bounded_too(running: House, part: bytes) -> None:
    connection = running.connect()
    connection.sendall(_head(running, "transfer-encoding: chunked") + part)
    with pytest.raises(OSError):
        for _ in range(2_000):
            connection.sendall(b"y" * 65_536)
    assert _quiet(running)


@pytest.mark.parametrize(("path", "announced"), [("/v1/chat/completions", True), ("/datasets?name=a", False)])
def test_a_body_that_stops_is_given_up(
    running: House, path: str, announced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "BODY_SECONDS", 0.5)
    connection = running.connect()
    how = "content-length: 999" if announced else "transfer-encoding: chunked"
    connection.sendall(_head(running, how, path=path) + (b'{"a"' if announced else b'4\r\n{"a"\r\n'))
    status, error, _ = _answer(connection)
    assert (status, error["code"]) == (408, "request_timeout")
    assert _closed(connection)
    assert _quiet(running)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/endpoints", "/datasets?name=a"])
def test_a_body_without_end_is_refused(running: House, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "MAX_BODY", 2**20)
    connection = running.connect()
    connection.sendall(_head(running, "transfer-encoding: chunked", path=path))
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    for _ in range(20):
        connection.sendall(chunk)
    status, error, _ = _answer(connection)
    assert (status, error["code"]) == (413, "too_large")
    began = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - began < 15:
            connection.sendall(chunk)
            time.sleep(0.01)
    assert _quiet(running)


def test_requests_sent_ahead_are_bounded(running: House) -> None:
    connection = running.connect()
    one = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    connection.sendall(one * 10)
    told = b""
    while told.count(b"HTTP/1.1 200") < 10:
        told += connection.recv(65536)
    running.model.pause = 0.5
    with contextlib.suppress(OSError):
        connection.sendall(_head(running, f"content-length: {len(HELLO)}") + HELLO + one * 20_000)
    assert _closed(connection)
    running.model.pause = 0
    assert _quiet(running)
    assert _works(running)


def test_a_client_that_never_reads_is_let_go(running: House) -> None:
    """The stream stops where the client's buffers are full, ends at its deadline, and leaves neither task nor connection."""
    long = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "w " * 40_000}]}
    body = json.dumps(long).encode()
    connections = [_narrow(running) for _ in range(2)]
    for connection in connections:
        connection.sendall(_head(running, f"content-length: {len(body)}") + body)
    deadline = time.monotonic() + 20
    while not any(_buffered(running)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 0 < max(_buffered(running)) < 2**18, "what is kept for a client that does not read is bounded"
    assert _works(running), "those that read are served meanwhile"
    assert _quiet(running)
    deadline = time.monotonic() + 20
    while any(_buffered(running)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_buffered(running)), "what nobody reads is not kept"
    for connection in connections:
        connection.close()


def _narrow(running: House) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(running.address)
    return connection


def _buffered(running: House) -> list[int]:
    return [each.transport.get_write_buffer_size() for each in list(running.server.server_state.connections)]


def test_no_more_connections_than_there_may_be(running: House) -> None:
    idle = [running.connect() for _ in range(BOUNDS.connections)]
    try:
        deadline = time.monotonic() + 10
        while len(running.server.server_state.connections) < BOUNDS.connections and time.monotonic() < deadline:
            time.sleep(0.02)
        one_more = running.connect()
        status, error, closed = _answer(one_more)
        assert (status, error["code"], closed) == (503, "overloaded", True)
    finally:
        for connection in idle:
            connection.close()
    deadline = time.monotonic() + 10
    while running.server.server_state.connections and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _works(running)


def test_an_upgrade_that_is_not_served_does_not_keep_the_connection(running: House) -> None:
    connection = running.connect()
    connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    assert _answer(connection)[0] == 200
    with contextlib.suppress(OSError):
        for _ in range(30):
            connection.sendall(b"more")
            time.sleep(0.1)
    assert _closed(connection)


def test_a_process_takes_as_many_connections_as_it_may_open_files_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    for soft, hard, most, raised in (
        (1024, 4096, 1920, [(4096, 4096)]),
        (1024, resource.RLIM_INFINITY, 30_000, [(60_256, resource.RLIM_INFINITY)]),
        (10**6, 10**6, 30_000, []),
        (100, 100, 1, []),
    ):
        given.clear()
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft, hard=hard: (soft, hard))
        assert (allowed().connections, given) == (most, raised)
