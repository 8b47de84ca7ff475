"""Calls to engines: through a restart, with the adapters they need, and with their failures made ours.

Nothing has been sent to the client while this module works, so whatever it tries again the client never sees.
"""

import asyncio
import functools
import io
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import aiohttp
import msgspec

from charkha.core.errors import CharkhaError, Invalid, TooLarge, Unavailable
from charkha.serve.ports import Engine, PartitionsPrompts, UpstreamCall
from charkha.serve.targets import Target

EnsureAdapter = Callable[[str, str, UUID, UUID | None], Awaitable[None]]
"""(engine, digest, workspace, version) → the engine holds the adapter. Raises one of our errors where it cannot."""

MAX_ANSWER_BYTES = 64 * 2**20
_MAX_ERROR_BYTES = 64 * 2**10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_BREAKS = 2  # a request that broke its engine this often is not tried again: it may be what breaks it
_PASSED_ON = frozenset({400, 413, 422, 429})
_LARGE = 2**19
_GENERATING = frozenset({"/v1/chat/completions", "/v1/completions"})
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)


class EngineFailed(CharkhaError):
    """An engine broke down over a request, or answered what no engine answers."""

    status, code = 502, "engine_failed"


class EngineStarting(Unavailable):
    """The engine's process answers, but has not loaded its model yet."""

    code = "engine_starting"


class AdapterMissing(CharkhaError):
    """The engine does not hold an adapter that the request names."""

    status, code = 409, "adapter_not_loaded"


class Upstream:
    """Posts requests to engines. `patience` is how long, in seconds, an engine may take to come back."""

    def __init__(
        self,
        engines: Mapping[str, Engine],
        session: aiohttp.ClientSession,
        ensure_adapter: EnsureAdapter,
        *,
        patience: float,
    ) -> None:
        self._engines, self._session, self._patience = engines, session, patience
        self._ensure_adapter = ensure_adapter
        self._ensuring: dict[tuple[UUID, str, str], asyncio.Future[None]] = {}

    async def post(self, target: Target, path: str, body: dict[str, Any], workspace_id: UUID) -> aiohttp.ClientResponse:
        """The engine's answer, of status 200, its body unread; whoever gets it closes it. Raises our errors."""
        body = self._of(workspace_id, target, path, body)
        try:
            return await self._through_restarts(target, path, body)
        except AdapterMissing:
            await self._ensure(target, workspace_id)
            return await self._through_restarts(target, path, body)

    def _of(self, workspace_id: UUID, target: Target, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The body, with the workspace as its partition where the engine keeps what it has read of prompts apart."""
        if path in _GENERATING and isinstance(self._engines.get(target.engine), PartitionsPrompts):
            return {**body, "partition": workspace_id.hex}
        return body

    async def _through_restarts(self, target: Target, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        give_up, pause, breaks = time.monotonic() + self._patience, _FIRST_PAUSE, 0
        while True:
            over = time.monotonic() + pause > give_up
            try:
                return await self._answer(target, path, body)
            except (aiohttp.ClientConnectionError, ConnectionError) as error:
                breaks += not isinstance(error, aiohttp.ClientConnectorError | ConnectionError)
                if breaks >= _BREAKS or over:
                    raise _unreachable(target.engine) from error
            except EngineStarting:
                if over:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _answer(self, target: Target, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        response = await self._once(self._call(target, path, body))
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
            raise Invalid(
                f"The engine '{target.engine}' refuses this: {error}.",
                remedy="Ask for what it can do, or give the endpoint a version for another engine.",
            ) from error

    async def _once(self, call: UpstreamCall) -> aiohttp.ClientResponse:
        data = call.body if len(call.body) < _LARGE else io.BytesIO(call.body)  # aiohttp writes this one piece by piece
        return await self._session.post(
            call.url, data=data, headers=call.headers, allow_redirects=False, timeout=_TIMEOUT
        )

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


async def read_whole(response: aiohttp.ClientResponse, most: int = MAX_ANSWER_BYTES) -> bytes:
    """An answer's body. Raises TooLarge over `most` bytes, aiohttp's errors where the engine breaks off."""
    parts = bytearray()
    async for part in response.content.iter_any():
        parts += part
        if len(parts) > most:
            raise TooLarge("The engine's answer is too large.", remedy="Ask for less.")
    return bytes(parts)


async def _failure(response: aiohttp.ClientResponse, engine: str) -> CharkhaError:
    """What an answer other than 200 means to the client."""
    async with response:
        try:
            told = _Failure.of(await read_whole(response, _MAX_ERROR_BYTES))
        except (aiohttp.ClientError, TooLarge):
            told = _Failure()
    if response.status == 409 and told.code == AdapterMissing.code:
        return AdapterMissing(f"The engine '{engine}' does not hold the adapter.", remedy="Try again.")
    if response.status in _PASSED_ON:
        refused = Invalid(
            told.message or f"The engine '{engine}' refused the request.", param=told.param, code=told.code
        )
        refused.status = response.status
        return refused
    if response.status == 503 and told.code == EngineStarting.code:
        return EngineStarting(f"The engine '{engine}' is starting.", remedy="Try again.")
    if response.status == 503:
        return Unavailable(f"The engine '{engine}' is not ready.", remedy="Try again.", code="engine_unavailable")
    return EngineFailed(
        f"The engine '{engine}' failed with status {response.status}.", remedy="Try again; its log says more."
    )


class _Failure(msgspec.Struct, frozen=True):
    """OpenAI's error object, as far as an engine filled it in."""

    message: str | None = None
    param: str | None = None
    code: str | None = None

    @classmethod
    def of(cls, body: bytes) -> "_Failure":
        try:
            told = msgspec.json.decode(body)["error"]
            texts = {field: told.get(field) for field in cls.__struct_fields__}
        except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
            return cls()
        return cls(**{field: value for field, value in texts.items() if isinstance(value, str)})


def _unreachable(engine: str) -> Unavailable:
    return Unavailable(
        f"The engine '{engine}' cannot be reached.",
        remedy="It is restarted if it is ours; try again.",
        code="engine_unavailable",
    )
