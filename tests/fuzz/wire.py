"""Operations as a document describes them, and a connection that sends requests as they are, however wrong."""

import http.client
import re
import socket
from typing import Any, NamedTuple

_METHODS = frozenset({"get", "post", "put", "patch", "delete"})


class Operation(NamedTuple):
    """One method at one path, as the document describes it."""

    method: str
    path: str
    parameters: list[dict[str, Any]]
    bodies: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Request(NamedTuple):
    """What is sent, but for the key."""

    operation: Operation
    target: str
    headers: list[tuple[str, str]]
    body: bytes | None


class Answer(NamedTuple):
    """What came back. `body` is empty where it is a stream without an end."""

    status: int
    headers: dict[str, str]
    body: bytes


def operations(document: dict[str, Any]) -> list[Operation]:
    """What the document describes."""
    found = []
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            if method in _METHODS:
                content = (told.get("requestBody") or {}).get("content") or {}
                bodies = {kind: media.get("schema", {}) for kind, media in content.items()}
                found.append(Operation(method.upper(), path, told.get("parameters", []), bodies))
    return found


class Wire:
    """A connection that sends requests as they are, however wrong, and is opened anew where the server closed it."""

    def __init__(self, address: tuple[str, int], key: str) -> None:
        self._address, self._key = address, key
        self._socket: socket.socket | None = None

    def ask(self, request: Request) -> Answer:
        """The answer. Raises OSError or HTTPException where there is none."""
        head = [f"{request.operation.method} {request.target} HTTP/1.1", "host: 127.0.0.1"]
        given = {name for name, _ in request.headers}
        head += [f"authorization: Bearer {self._key}"]
        head += [f"{name}: {_plain(value)}" for name, value in request.headers]
        if request.body is not None and "transfer-encoding" not in given:
            head.append(f"content-length: {len(request.body)}")
        data = "\r\n".join([*head, "", ""]).encode("latin-1") + (request.body or b"")
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=30)
        self._socket.sendall(data)
        return self._read(request.operation.method)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self, method: str) -> Answer:
        assert self._socket is not None
        response = http.client.HTTPResponse(self._socket, method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        endless = headers.get("content-type", "").startswith("text/event-stream") and method == "GET"
        body = b"" if endless else response.read()
        if endless or response.will_close:
            self.close()
        response.close()
        return Answer(response.status, headers, body)


def _plain(value: str) -> str:
    """A header's value: whatever is no line break, in the bytes that headers have."""
    return re.sub(r"[\r\n]", " ", value).encode("latin-1", "replace").decode("latin-1")
