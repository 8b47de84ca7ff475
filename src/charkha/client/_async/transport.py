"""One HTTP conversation with Charkha: encoding, decoding, retries of what is safe to repeat, errors as exceptions."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import msgspec

from charkha.client.errors import ApiError, ConnectionFailed

T = TypeVar("T")
_TRIES = 4


class Transport:
    """Sends requests. A GET, and a POST with an idempotency key, is repeated when the answer was lost."""

    def __init__(self, base_url: str, api_key: str, *, workspace: str | None = None, timeout: float = 120.0) -> None:
        headers = {"authorization": f"Bearer {api_key}"}
        if workspace:
            headers["x-charkha-workspace"] = workspace
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout, trust_env=False)

    async def call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: Any = None,
        content: bytes | None = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        idempotent: bool = False,
    ) -> T:
        """Send one request and decode its answer as `kind`. Raises ApiError or ConnectionFailed."""
        sent = {"content-type": "application/json", **(headers or {})}
        if idempotent:
            sent.setdefault("idempotency-key", uuid4().hex)
        data = content if content is not None else msgspec.json.encode(body) if body is not None else None
        params = {key: value for key, value in (query or {}).items() if value is not None}
        response = await self._send(method, path, sent, data, params, repeat=idempotent or method == "GET")
        return decoded(response, kind)

    async def fetch(self, path: str) -> bytes:
        """The bytes that a path answers with. Raises as `call`."""
        response = await self._send("GET", path, {}, None, {}, repeat=True)
        if response.status_code >= 400:
            raise failure(response)
        return response.content

    async def events(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """The server-sent events of a path, each as its JSON."""
        try:
            async with self._http.stream("GET", path, timeout=None) as response:
                if response.status_code >= 400:
                    await response.aread()
                    raise failure(response)
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        yield msgspec.json.decode(line[5:])
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        data: bytes | None,
        params: dict[str, Any],
        *,
        repeat: bool,
    ) -> httpx.Response:
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1 or not repeat
            try:
                response = await self._http.request(method, path, headers=headers, content=data, params=params)
            except httpx.TransportError as error:
                if last:
                    raise unreachable(self._http.base_url, error) from error
            else:
                if response.status_code not in (502, 503) or last:
                    return response
            await asyncio.sleep(0.2 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


def decoded(response: httpx.Response, kind: type[T]) -> T:
    """The answer as `kind`, or the error that it carries."""
    if response.status_code >= 400:
        raise failure(response)
    return msgspec.json.decode(response.content or b"null", type=kind)


def failure(response: httpx.Response) -> ApiError:
    """The error that a response carries."""
    try:
        error = msgspec.json.decode(response.content)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        error = {"message": f"HTTP {response.status_code}: {response.text[:200]}"}
    return ApiError(response.status_code, error)


def unreachable(address: object, error: Exception) -> ConnectionFailed:
    """What a broken connection means."""
    return ConnectionFailed(f"Charkha does not answer at {address} ({type(error).__name__}: {error}).")
