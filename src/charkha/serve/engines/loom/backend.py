"""The torch engine as what its process answers with: the `Backend` of `engine_http`."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from charkha.core.errors import Unavailable
from charkha.serve.engines.engine_http import AdapterRefused
from charkha.serve.engines.engine_requests import COUNT, EMBEDDINGS, SCORE, Asked
from charkha.serve.engines.engine_responses import Send, respond, stream

if TYPE_CHECKING:  # the process listens before it has loaded torch
    from charkha.serve.engines.loom.answers import Answers
    from charkha.serve.engines.loom.engine import LoomEngine

_LOOK_AGAIN: Final = 0.01


class LoomBackend:
    """Answers once an engine was given to it."""

    def __init__(self) -> None:
        self._engine: LoomEngine | None = None
        self._answers: Answers | None = None
        self._requests: Counter[str] = Counter()

    def serve(self, engine: "LoomEngine", answers: "Answers") -> None:
        """Begin to answer with a started engine."""
        self._engine, self._answers = engine, answers

    def stop(self) -> None:
        """End the engine, if there is one."""
        if self._engine:
            self._engine.stop()

    @property
    def ready(self) -> bool:
        """Whether there is an engine."""
        return self._engine is not None

    @property
    def adapters(self) -> Mapping[str, Path]:
        """The adapters that requests may name."""
        return self._engine.adapters if self._engine else {}

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests have named each."""
        return self._requests

    def state(self, digest: str) -> str:
        """Whether an adapter is in memory."""
        return "warm" if self._engine and digest in self._engine.warm else "cold"

    async def add(self, digest: str, path: Path) -> None:
        """Requests may name it from now on. Raises AdapterRefused for a rank that has no room."""
        try:
            self._started()[0].add(digest, path)
        except ValueError as error:
            raise AdapterRefused(str(error)) from error

    async def remove(self, digest: str) -> None:
        """New requests may not name it; returns when no accepted one has its file still to read."""
        engine, _ = self._started()
        engine.remove(digest)
        self._requests.pop(digest, None)
        while engine.needs(digest):  # noqa: ASYNC110  (rare: only while such a request waits for room)
            await asyncio.sleep(_LOOK_AGAIN)

    async def answer(self, asked: Asked, send: Send) -> None:
        """Answer; leaving it early cancels what the engine does for it."""
        _, answers = self._started()
        if asked.path == COUNT:
            count = len(answers.prompt(asked.calls[0]))
            await respond(send, 200, msgspec.json.encode({"input_tokens": count}))
        elif asked.path == EMBEDDINGS:
            await respond(send, 200, await answers.embeddings(asked))
        elif asked.path == SCORE:
            self._requests.update(use.id for use in asked.adapters)
            await respond(send, 200, await answers.scores(asked))
        elif asked.stream:
            self._requests.update(use.id for use in asked.adapters)
            await stream(answers.events(asked), send)
        else:
            self._requests.update(use.id for use in asked.adapters)
            await respond(send, 200, await answers.whole(asked))

    def _started(self) -> "tuple[LoomEngine, Answers]":
        if self._engine is None or self._answers is None:
            raise Unavailable("The engine is starting.", remedy="Try again in a second.", code="engine_starting")
        return self._engine, self._answers
