"""llama.cpp as what the engine process answers with: the `Backend` of `engine_http` over generations of workers."""

from collections.abc import Mapping
from pathlib import Path

import structlog

from charkha.core.errors import NotFound, Unavailable
from charkha.serve.engines.engine_http import AdapterRefused
from charkha.serve.engines.engine_requests import EMBEDDINGS, SCORE, Asked
from charkha.serve.engines.engine_responses import Send
from charkha.serve.engines.llama_answers import answer
from charkha.serve.engines.llama_generations import Generations
from charkha.serve.engines.llama_process import WorkerFailed
from charkha.serve.engines.llama_turns import blend_of

log = structlog.get_logger()


class LlamaBackend:
    """Sends requests to the generation that serves, each blend in its turn."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    @property
    def ready(self) -> bool:
        """Whether a generation serves."""
        return self._generations.ready

    @property
    def adapters(self) -> Mapping[str, Path]:
        """The adapters of the serving generation."""
        return self._generations.adapters

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests have named each."""
        return self._generations.requests

    def state(self, digest: str) -> str:
        """llama.cpp holds every adapter in memory."""
        return "warm"

    async def add(self, digest: str, path: Path) -> None:
        """Start a generation with the adapter. Raises AdapterRefused if llama.cpp does not take it."""
        try:
            await self._generations.add(digest, path)
        except WorkerFailed as error:
            raise AdapterRefused(str(error)) from error

    async def remove(self, digest: str) -> None:
        """Start a generation without it."""
        await self._generations.remove(digest)

    async def answer(self, asked: Asked, send: Send) -> None:
        """Answer on the generation that serves now."""
        if asked.path == EMBEDDINGS:
            await self._embed(asked, send)
            return
        if asked.path == SCORE:
            raise NotFound("llama.cpp cannot score continuations.", remedy="Ask an engine of the plugin loom.")
        with self._generations.lease(asked.adapters) as generation:
            async with generation.turns.turn(blend_of(asked.adapters), len(asked.calls)):
                await answer(generation, asked, send)

    async def _embed(self, asked: Asked, send: Send) -> None:
        try:
            embedder = await self._generations.embedder()
        except WorkerFailed as error:
            log.error("embedder_failed", reason=str(error))
            raise Unavailable("Embeddings cannot be made now.", remedy="See the engine's log.") from error
        with embedder.leased():
            await answer(embedder, asked, send)
