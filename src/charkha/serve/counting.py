"""How many tokens a prompt has: counted by the engine that would read it, or estimated where that engine cannot count."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import aiohttp
import msgspec

from charkha.core.errors import Timeout
from charkha.core.ids import uuid7
from charkha.govern.keyring import Principal
from charkha.serve.admission import unit_of
from charkha.serve.asgi import Headers
from charkha.serve.dialects import openai
from charkha.serve.ports import COUNT_PATH, CountsTokens, Engine
from charkha.serve.prompts.applying import applied
from charkha.serve.routes import Resolver
from charkha.serve.routing.router import Router
from charkha.serve.routing.ways import Choice, Journey, Way
from charkha.serve.targets import Target
from charkha.serve.upstream import EngineFailed, Upstream, read_whole

_BYTES_A_TOKEN, _TOKENS_A_TURN, _TOKENS_A_PICTURE = 4, 4, 1_600


class Count(NamedTuple):
    """Tokens of a prompt. `estimated`: no tokenizer has counted them."""

    tokens: int
    estimated: bool


class _Told(msgspec.Struct):
    input_tokens: int


class TokenCounter:
    """Counts the tokens of chat requests. Nothing is generated, and nothing written down."""

    def __init__(
        self,
        resolver: Resolver,
        engines: Mapping[str, Engine],
        upstream: Upstream,
        router: Router,
        *,
        seconds: float,
    ) -> None:
        """`seconds` is how long an engine may take to count."""
        self._resolver, self._engines, self._seconds = resolver, engines, seconds
        self._upstream, self._router = upstream, router

    async def count(self, caller: Principal, headers: Headers, request: Mapping[str, Any]) -> Count:
        """The tokens that the prompt of a chat request has where its model is served. Raises what a request would."""
        unit = unit_of(headers, request) or str(uuid7())
        target = self._resolver.resolve(caller.workspace_id, request["model"], unit)
        said, _ = applied(request, target)
        body = openai.upstream_body(said, "chat", model=target.model, system_prompt=target.system_prompt, parameters={})
        if not isinstance(self._engines.get(target.engine), CountsTokens):
            return Count(estimate(body), True)
        try:
            async with asyncio.timeout(self._seconds):
                return Count(await self._counted(target, body, caller.workspace_id), False)
        except TimeoutError as error:
            raise Timeout(f"No answer within {self._seconds:g} seconds.", remedy="Try again.") from error
        except (aiohttp.ClientError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise EngineFailed(f"The engine's count cannot be read: {error}.", remedy="Try again.") from error

    async def _counted(self, target: Target, body: dict[str, Any], workspace_id: UUID) -> int:
        async def begin(way: Way) -> int:
            async with await self._upstream.post(way.target, COUNT_PATH, way.body, workspace_id) as response:
                return msgspec.json.decode(await read_whole(response), type=_Told).input_tokens

        way = Way(target, body)
        journey = Journey(Choice((way,), way), begin)
        try:
            return await self._router.answer(journey)
        finally:
            journey.end()


def estimate(body: Mapping[str, Any]) -> int:
    """Roughly how many tokens a chat request has: a quarter of its text's UTF-8 bytes, some for turns and pictures."""
    size = turns = pictures = 0
    for message in body["messages"]:
        turns += 1
        content = message.get("content") or ""
        for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            pictures += part["type"] == "image_url"
            size += len(part.get("text") or "") and len(part["text"].encode())
        size += len(msgspec.json.encode(message.get("tool_calls") or []))
    size += len(msgspec.json.encode(body.get("tools") or []))
    return -(-size // _BYTES_A_TOKEN) + turns * _TOKENS_A_TURN + pictures * _TOKENS_A_PICTURE
