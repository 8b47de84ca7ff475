"""Embeddings of questions, asked of an engine. One that cannot answer is left alone for a while: nobody waits for it."""

import asyncio
import time
from uuid import UUID

import aiohttp
import msgspec
import structlog

from charkha.core.errors import CharkhaError
from charkha.serve.caches.policy import SemanticPolicy
from charkha.serve.targets import Target
from charkha.serve.upstream import Upstream, read_whole

EMBEDDING_SECONDS, REST_SECONDS = 2.0, 5.0
_PATH = "/v1/embeddings"
log = structlog.get_logger()


class _Embedding(msgspec.Struct):
    embedding: list[float]


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]


class Embedder:
    """Makes vectors of texts by way of the engines."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._resting: dict[tuple[str, str], float] = {}

    async def embed(self, workspace_id: UUID, policy: SemanticPolicy, text: str) -> list[float] | None:
        """The embedding of a text; None where the engine gives none in time."""
        of = policy.engine, policy.model
        if time.monotonic() < self._resting.get(of, 0):
            return None
        try:
            async with asyncio.timeout(EMBEDDING_SECONDS):
                return await self._asked(workspace_id, policy, text)
        except (CharkhaError, aiohttp.ClientError, msgspec.MsgspecError, IndexError, TimeoutError) as error:
            self._resting[of] = time.monotonic() + REST_SECONDS
            log.warning("cache.no_embedding", engine=policy.engine, model=policy.model, reason=str(error) or "too slow")
            return None

    async def _asked(self, workspace_id: UUID, policy: SemanticPolicy, text: str) -> list[float]:
        body = {"model": policy.model, "input": text}
        target = Target(policy.engine, policy.model)
        async with await self._upstream.post(target, _PATH, body, workspace_id) as response:
            return msgspec.json.decode(await read_whole(response), type=_Embeddings).data[0].embedding
