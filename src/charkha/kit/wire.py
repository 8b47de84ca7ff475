"""HTTP/1.1 to engines, for the hot path: what aiohttp's client does, in a quarter of the processor time, and no more.

Owns the gateway's connections to engines and applies the rules of `egress` to each of them. POST alone; no redirects, no
cookies, no proxies, no compression. Failures are aiohttp's, so that callers need not know which client they have:
`Unreachable` where no connection was made, `ServerDisconnectedError` where one ended before an answer began, and
`ClientPayloadError` where the answer broke off or is no HTTP.
"""

import asyncio
import functools
import io
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from charkha import __version__
from charkha.kit import egress
from charkha.kit.wire_answers import Answer, Connection

__all__ = ["Answer", "Place", "Session", "Unreachable", "place_of"]


_DEFAULT = aiohttp.ClientTimeout(sock_connect=5)


class Unreachable(aiohttp.ClientConnectionError, ConnectionError):
    """No connection could be made: nothing was sent."""


class Place(NamedTuple):
    """Where a URL leads."""

    host: str
    port: int
    is_secure: bool
    line: str
    """The request line and the Host header."""


class Session:
    """The client of one event loop. Connections are kept for `keepalive` seconds; the last one used is used first."""

    def __init__(self, *, allowed_hosts: Iterable[str] = (), keepalive: float = 30.0) -> None:
        self._resolver, self._keepalive = egress.GuardedResolver(allowed_hosts), keepalive
        self._pools: dict[tuple[str, int, bool], list[Connection]] = {}
        self._tls: ssl.SSLContext | None = None
        self._reaping: asyncio.TimerHandle | None = None

    async def post(
        self,
        url: str,
        *,
        data: bytes | io.BytesIO,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout = _DEFAULT,
        allow_redirects: bool = False,
    ) -> Answer:
        """The answer, once its head is there. Of `timeout`, `sock_connect` alone is heeded; redirects are answers."""
        place = place_of(url)
        body = data if isinstance(data, bytes) else data.getvalue()
        request = b"".join((_head(place.line, headers, len(body)), body))
        pool = self._pools.setdefault(place[:3], [])
        while pool:
            connection = pool.pop()
            if connection.is_open:
                return await connection.ask(request)
        connection = await self._connected(place, pool, timeout.sock_connect)
        return await connection.ask(request)

    async def close(self) -> None:
        """End every idle connection."""
        if self._reaping is not None:
            self._reaping.cancel()
        for pool in self._pools.values():
            while pool:
                pool.pop().close()
        await self._resolver.close()

    async def _connected(self, place: Place, pool: list[Connection], seconds: float | None) -> Connection:
        """A new connection to a checked address, the first that takes it. Raises Unreachable, or egress.Refused."""
        loop = asyncio.get_running_loop()
        if self._reaping is None:
            self._reaping = loop.call_later(self._keepalive / 2, self._reap)
        secure: dict[str, Any] = {"ssl": self._context(), "server_hostname": place.host} if place.is_secure else {}
        failure: Exception = OSError("it has no address")
        try:
            async with asyncio.timeout(seconds):
                for each in await self._resolver.resolve(place.host, place.port, socket.AF_UNSPEC):
                    try:
                        _, made = await loop.create_connection(
                            lambda: Connection(pool), each["host"], place.port, **secure
                        )
                        return made
                    except OSError as error:
                        failure = error
        except (TimeoutError, OSError) as error:
            failure = error
        reason = str(failure) or "no answer in time"
        raise Unreachable(f"{place.host}:{place.port} cannot be reached: {reason}") from failure

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _reap(self) -> None:
        """End connections that nobody has used for long."""
        oldest = time.monotonic() - self._keepalive
        for pool in self._pools.values():
            old = [each for each in pool if each.idle_since < oldest or not each.is_open]
            pool[:] = [each for each in pool if each.idle_since >= oldest and each.is_open]
            for connection in old:
                connection.close()
        self._reaping = asyncio.get_running_loop().call_later(self._keepalive / 2, self._reap)


@functools.lru_cache(256)
def place_of(url: str) -> Place:
    """Where a URL leads. Raises ValueError for one that is not http or https, or that names no host."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of an engine")
    is_secure = parts.scheme == "https"
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host = name if parts.port is None else f"{name}:{parts.port}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    line = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nUser-Agent: Charkha/{__version__}\r\n"
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{url!r} is no address of an engine")
    return Place(parts.hostname, parts.port or (443 if is_secure else 80), is_secure, line)


def _head(line: str, headers: Mapping[str, str], length: int) -> bytes:
    told = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if told.count("\n") != len(headers) or told.count("\r") != len(headers):
        raise ValueError("a header holds a line break")
    return f"{line}{told}Content-Length: {length}\r\n\r\n".encode()
