"""The one way out: every outgoing HTTP call of ours goes through this session.

A host is resolved once and the connection is made to the checked address, redirects are not followed, and private,
link-local and loopback addresses are refused unless the operator allows them by host name.
"""

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(aiohttp.ClientConnectionError):
    """The destination is not one that this installation may reach."""


def is_public(address: str) -> bool:
    """Whether an IP address is reachable by anybody: not private, loopback, link-local, multicast or reserved."""
    parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = _carried(parsed) or parsed
    return parsed.is_global and not parsed.is_multicast


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which one that carries it leads: mapped, 6to4, or through a translator (RFC 6052)."""
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour


def is_private_literal(host: str) -> bool:
    """Whether a host is written as an address, and as one that is not public."""
    return _is_address(host) and not is_public(host)


class GuardedResolver(AbstractResolver):
    """Resolves a host once and hands on only the addresses that may be reached."""

    def __init__(self, allowed_hosts: Iterable[str]) -> None:
        self._allowed = {host.lower() for host in allowed_hosts}
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`, itself if it is one. Raises Refused where one is private and the host is not allowed."""
        found = [_itself(host, port)] if _is_address(host) else await self._inner.resolve(host, port, family)
        if host.lower() not in self._allowed and not all(is_public(each["host"]) for each in found):
            raise Refused(f"{host} is on a private network, where only hosts that the settings name may be reached")
        return found

    async def close(self) -> None:
        """Nothing to release."""
        await self._inner.close()


class _GuardedConnector(aiohttp.TCPConnector):
    """Applies the same rule to hosts that are written as addresses, which aiohttp does not resolve."""

    def __init__(self, allowed_hosts: Iterable[str], **options: Any) -> None:
        self._allowed_hosts = {host.lower() for host in allowed_hosts}
        super().__init__(resolver=GuardedResolver(allowed_hosts), use_dns_cache=False, **options)

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: Any) -> Any:
        host = (req.url.host or "").lower()
        if host not in self._allowed_hosts and is_private_literal(host):
            raise Refused(f"{host} is a private address, and no engine in the settings has it")
        return await super().connect(req, traces, timeout)


def _itself(address: str, port: int) -> ResolveResult:
    """What the resolver says of an address, without asking it in a thread."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=address, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def session(
    *, allowed_hosts: Iterable[str] = (), connections: int = 512, seconds: float = 120.0
) -> aiohttp.ClientSession:
    """A session that follows the rules above. Callers pass `allow_redirects=False`; `request` does it for them."""
    return aiohttp.ClientSession(
        connector=_GuardedConnector(allowed_hosts, limit=connections, keepalive_timeout=30),
        timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=5),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )
