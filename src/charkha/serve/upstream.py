"""Calls to engines: with the adapters they need, and with their failures made ours.

What is done about a failure is not decided here: `charkha.serve.routing` tries again, and elsewhere.
"""

import asyncio
import functools
import io
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import aiohttp

from charkha.core.errors import CharkhaError, Invalid, LimitReached, TooLarge, Unavailable
from charkha.serve.ports import Client, Engine, Response, UpstreamCall
from charkha.serve.refusals import Refusal
from charkha.serve.targets import Target
from charkha.serve.translated import translated

EnsureAdapter = Callable[[str, str, UUID, UUID | None], Awaitable[None]]
"""(engine, digest, workspace, version) → the engine holds the adapter. Raises one of our errors where it cannot."""

MAX_ANSWER_BYTES = 64 * 2**20
_MAX_ERROR_BYTES = 64 * 2**10
_LONGEST_REST = 3_600.0
_PASSED_ON = frozenset({400, 413, 422})
_LARGE = 2**19
_PARTITIONS = (
    "partitions_prompts"  # of ports.PartitionsPrompts; asking a protocol costs ten times as much, for each request
)
_GENERATING = frozenset({"/v1/chat/completions", "/v1/completions"})
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)


class EngineFailed(CharkhaError):
    """An engine broke down over a request, or answered what no engine answers."""

    status, code = 502, "engine_failed"


class EngineErred(EngineFailed):
    """The engine says that it failed (5xx); the next time it may not."""


class EngineRejects(EngineFailed):
    """The engine lives, but does not answer us: a wrong key, a model that it does not have."""


class EngineAway(Unavailable):
    """The engine cannot be reached: nothing of the request has come to it."""

    code = "engine_unavailable"


class EngineBroke(Unavailable):
    """The engine broke the connection off before it answered: it may have begun to work on the request."""

    code = "engine_unavailable"


class EngineStarting(EngineAway):
    """The engine's process answers, but has not loaded its model yet."""

    code = "engine_starting"


class EngineBusy(Unavailable):
    """The engine is there and says that it cannot take the request now."""

    code = "engine_unavailable"


class EngineThrottles(LimitReached):
    """The engine has had too many requests from us. `rest`: seconds that it asked for, None where it did not say."""

    def __init__(self, message: str, *, code: str | None, param: str | None, rest: float | None) -> None:
        super().__init__(message, remedy="Try again later.", code=code, retry_after=int(-(-(rest or 1) // 1)))
        self.param, self.rest = param, rest


class CannotAnswer(Invalid):
    """The engine was not asked, since it cannot do what the request is for."""


class AdapterMissing(CharkhaError):
    """The engine does not hold an adapter that the request names."""

    status, code = 409, "adapter_not_loaded"


class Upstream:
    """Posts requests to engines."""

    def __init__(self, engines: Mapping[str, Engine], session: Client, ensure_adapter: EnsureAdapter) -> None:
        self._engines, self._session = engines, session
        self._ensure_adapter = ensure_adapter
        self._ensuring: dict[tuple[UUID, str, str], asyncio.Future[None]] = {}

    async def post(self, target: Target, path: str, body: dict[str, Any], workspace_id: UUID) -> Response:
        """The engine's answer, of status 200, its body unread; whoever gets it closes it. Raises our errors."""
        body = self._of(workspace_id, target, path, body)
        try:
            return await self._answer(target, path, body)
        except AdapterMissing:
            await self._ensure(target, workspace_id)
            return await self._answer(target, path, body)

    def _of(self, workspace_id: UUID, target: Target, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The body, with the workspace as its partition where the engine keeps what it has read of prompts apart."""
        if path in _GENERATING and getattr(self._engines.get(target.engine), _PARTITIONS, False):
            return {**body, "partition": workspace_id.hex}
        return body

    async def _answer(self, target: Target, path: str, body: dict[str, Any]) -> Response:
        try:
            response = await self._once(self._call(target, path, body))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, ConnectionError) as error:
            raise EngineAway(_unreachable(target.engine), remedy=_RESTARTED) from error
        except aiohttp.ClientError as error:
            raise EngineBroke(_unreachable(target.engine), remedy=_RESTARTED) from error
        if response.status == 200:
            return response
        raise await _failure(response, target.engine)

    def _call(self, target: Target, path: str, body: dict[str, Any]) -> UpstreamCall:
        engine = self._engines.get(target.engine)
        if engine is None:
            raise Unavailable(
                f"There is no engine '{target.engine}' any more.",
                remedy="Put it back into the settings, or move the plan.",
            )
        try:
            return engine.upstream(path, body, [(part.digest, part.weight) for part in target.adapters])
        except ValueError as error:
            raise CannotAnswer(
                f"The engine '{target.engine}' refuses this: {error}.",
                remedy="Ask for what it can do, or give the endpoint a version for another engine.",
            ) from error

    async def _once(self, call: UpstreamCall) -> Response:
        data = call.body if len(call.body) < _LARGE else io.BytesIO(call.body)  # aiohttp writes this one piece by piece
        session = self._session if call.session is None else call.session()
        response = await session.post(
            call.url, data=data, headers=call.headers, allow_redirects=False, timeout=_TIMEOUT
        )
        return translated(response, call)

    async def _ensure(self, target: Target, workspace_id: UUID) -> None:
        """Have the engine load what it lacks; requests that need the same adapter wait for one load."""
        for part in target.adapters:
            key = workspace_id, target.engine, part.digest
            if key not in self._ensuring:
                load = self._ensure_adapter(target.engine, part.digest, workspace_id, part.version_id)
                self._ensuring[key] = asyncio.ensure_future(load)
                self._ensuring[key].add_done_callback(functools.partial(self._loaded, key))
            await asyncio.shield(self._ensuring[key])

    def _loaded(self, key: tuple[UUID, str, str], task: asyncio.Future[None]) -> None:
        del self._ensuring[key]
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may be waiting any more


async def read_whole(response: Response, most: int = MAX_ANSWER_BYTES) -> bytes:
    """An answer's body. Raises TooLarge over `most` bytes, aiohttp's errors where the engine breaks off."""
    parts = bytearray()
    async for part in response.content.iter_any():
        parts += part
        if len(parts) > most:
            raise TooLarge("The engine's answer is too large.", remedy="Ask for less.")
    return bytes(parts)


async def _failure(response: Response, engine: str) -> CharkhaError:
    """What an answer other than 200 means to the client."""
    async with response:
        try:
            told = Refusal.of(await read_whole(response, _MAX_ERROR_BYTES))
        except (aiohttp.ClientError, TooLarge):
            told = Refusal()
    if response.status == 409 and told.code == AdapterMissing.code:
        return AdapterMissing(f"The engine '{engine}' does not hold the adapter.", remedy="Try again.")
    if response.status == 429:
        message = told.message or f"The engine '{engine}' has too many requests."
        return EngineThrottles(message, code=told.code, param=told.param, rest=_rest(response))
    if response.status in _PASSED_ON:
        refused = Invalid(
            told.message or f"The engine '{engine}' refused the request.", param=told.param, code=told.code
        )
        refused.status = response.status
        return refused
    if response.status == 503 and told.code == EngineStarting.code:
        return EngineStarting(f"The engine '{engine}' is starting.", remedy="Try again.")
    if response.status == 503:
        return EngineBusy(f"The engine '{engine}' is not ready.", remedy="Try again.")
    kind = EngineErred if response.status >= 500 else EngineRejects
    return kind(f"The engine '{engine}' failed with status {response.status}.", remedy="Try again; its log says more.")


def _rest(response: Response) -> float | None:
    """The seconds of a `Retry-After`, where it tells any."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, _LONGEST_REST) if seconds >= 0 else None


_RESTARTED = "It is restarted if it is ours; try again."


def _unreachable(engine: str) -> str:
    return f"The engine '{engine}' cannot be reached."
