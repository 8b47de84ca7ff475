"""The gateway's listening socket: bound once by the supervisor, inherited by every gateway process.

Owns what can go wrong with an address, and the question whether an HTTP server behind it is ready.
"""

import errno
import http.client
import socket
import ssl

from charkha.core.errors import CharkhaError, Conflict, Misconfigured

_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises Conflict (port taken) or Misconfigured."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise _bad_host(host, str(error.strerror)) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _explained(error, host, port) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket, *, secure: bool = False) -> str:
    """Where a client on this machine finds it."""
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    return f"http{'s' if secure else ''}://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def answers(host: str, port: int, path: str = "/readyz", timeout: float = 0.5, *, secure: bool = False) -> bool:
    """Whether an HTTP server there answers `path` with 200, inside `timeout` seconds. Its certificate is not checked."""
    if secure:
        trusting = ssl._create_unverified_context()  # noqa: S323  (our own child on this machine is asked if it lives)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=timeout, context=trusting
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _bad_host(host: str, reason: str) -> Misconfigured:
    return Misconfigured(
        f"Cannot listen on {host}: {reason}.", remedy="Set CHARKHA_HOST to an address of this machine.", param="host"
    )


def _explained(error: OSError, host: str, port: int) -> CharkhaError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"Port {port} on {host} is taken by another program.",
            remedy="Choose another with CHARKHA_PORT (0 takes a free one), or stop that program.",
            param="port",
            code="port_taken",
        )
    if error.errno == errno.EACCES:
        return Misconfigured(
            f"This user may not listen on port {port}.",
            remedy="Choose a port of 1024 or more with CHARKHA_PORT.",
            param="port",
        )
    return _bad_host(host, str(error.strerror))
