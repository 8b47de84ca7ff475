"""Which adapters are in llama.cpp now, and how that changes while it answers.

llama.cpp reads its adapters once, when it starts. A change therefore starts a second worker with the new list (a
*generation*), gives it every new request, and ends the old one when its last request has ended. Changes that come while
one is being made are made together. A worker that dies is replaced by one with the same adapters.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from charkha.core.errors import Conflict, Unavailable
from charkha.serve.engines.engine_fields import AdapterUse
from charkha.serve.engines.llama_process import Worker, WorkerFailed
from charkha.serve.engines.llama_slots import Slots
from charkha.serve.engines.llama_turns import Turns
from charkha.serve.engines.llama_worker import Spec

log = structlog.get_logger()

_MOST_DRAINING: Final = 3


@dataclass(eq=False)
class Generation:
    """A worker, the adapters that it holds in order, whose turn it is there, and how many requests it is answering."""

    worker: Worker
    adapters: dict[str, Path]
    turns: Turns
    slots: Slots
    running: int = 0
    retired: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def lora(self, uses: Sequence[AdapterUse]) -> list[dict[str, float]]:
        """llama.cpp's `lora` for a blend. Never empty if there are adapters.

        With an empty list llama.cpp keeps what it has read of the prompt even if that was under another adapter.
        """
        places = {digest: place for place, digest in enumerate(self.adapters)}
        return [{"id": places[use.id], "scale": use.weight} for use in uses] or [{"id": 0, "scale": 0.0}][: len(places)]

    @contextmanager
    def leased(self) -> Iterator["Generation"]:
        """Keep this generation alive while the block runs."""
        self.running += 1
        try:
            yield self
        finally:
            self.running -= 1
            self._settle()

    def retire(self) -> None:
        """Nobody is sent here any more; `idle` is set when the last request has ended."""
        self.retired = True
        self._settle()

    def _settle(self) -> None:
        if self.retired and not self.running:
            self.idle.set()


class Generations:
    """The generation that answers new requests, and the older ones that are finishing theirs."""

    def __init__(self, spec: Spec, request_seconds: float, on_broken: Callable[[], None]) -> None:
        """`spec` is every worker's but for adapters, socket and key; `on_broken` is called when none can be started."""
        self._spec, self._seconds, self._on_broken = spec, request_seconds, on_broken
        self._current: Generation | None = None
        self._embedder: Generation | None = None
        self._pending: dict[str, Path] = {}
        self._gone: set[str] = set()
        self._turn, self._embedder_turn = asyncio.Lock(), asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()
        self._watching: set[asyncio.Task[None]] = set()
        self._count = 0
        self.requests: dict[str, int] = {}

    @property
    def ready(self) -> bool:
        """Whether requests are answered now."""
        return self._current is not None

    @property
    def adapters(self) -> dict[str, Path]:
        """The adapters that requests may name now."""
        held = self._current.adapters if self._current else {}
        return {digest: path for digest, path in held.items() if digest not in self._gone}

    async def start(self, adapters: Mapping[str, Path]) -> None:
        """Start the first generation. Raises WorkerFailed."""
        async with self._turn:
            await self._swap(adapters)

    @contextmanager
    def lease(self, uses: Sequence[AdapterUse]) -> Iterator[Generation]:
        """The generation for a request. Raises Conflict if an adapter is not there, Unavailable if none is ready."""
        if self._current is None:
            raise Unavailable("The engine is starting.", remedy="Try again in a second.", code="engine_starting")
        there = self.adapters
        for use in uses:
            if use.id not in there:
                remedy = "Load it with PUT /adapters/{sha256}, then ask again."
                raise Conflict(f"The adapter {use.id} is not loaded.", remedy=remedy, code="adapter_not_loaded")
            self.requests[use.id] = self.requests.get(use.id, 0) + 1
        with self._current.leased() as generation:
            yield generation

    async def add(self, digest: str, path: Path) -> None:
        """Return when requests may name the adapter. Raises WorkerFailed if llama.cpp does not take it."""
        self._gone.discard(digest)
        self._pending[digest] = path
        try:
            async with self._turn:
                if digest not in self.adapters:
                    await self._add_pending(digest, path)
        finally:
            self._pending.pop(digest, None)

    async def remove(self, digest: str) -> None:
        """Refuse new requests that name the adapter, at once; return when it is out of the serving generation."""
        self._gone.add(digest)
        self.requests.pop(digest, None)
        async with self._turn:
            if self._current and digest in self._current.adapters and digest in self._gone:
                await self._swap(self.adapters)
            self._gone.discard(digest)

    async def embedder(self) -> Generation:
        """The worker that embeds texts, started when it is first asked for. Raises WorkerFailed."""
        async with self._embedder_turn:
            if self._embedder is None:
                self._embedder = await self._build({}, embeddings=True)
            return self._embedder

    async def close(self) -> None:
        """End every worker."""
        for task in (*self._watching, *self._draining):
            task.cancel()
        await asyncio.gather(*self._watching, *self._draining, return_exceptions=True)
        for generation in (self._current, self._embedder):
            if generation:
                await generation.worker.stop()

    async def _add_pending(self, digest: str, path: Path) -> None:
        together = {**self.adapters, **self._pending}
        alone = {**self.adapters, digest: path}
        try:
            await self._swap(together)
        except WorkerFailed:
            if len(together) == len(alone):
                raise
            await self._swap(alone)  # another that was waiting is to blame, perhaps

    async def _swap(self, adapters: Mapping[str, Path]) -> None:
        while len(self._draining) >= _MOST_DRAINING:
            await asyncio.wait(self._draining, return_when=asyncio.FIRST_COMPLETED)
        old, self._current = self._current, await self._build(adapters)
        log.info("generation_started", adapters=len(adapters), number=self._count)
        if old:
            old.retire()
            _keep(self._draining, _drain(old))

    async def _build(self, adapters: Mapping[str, Path], embeddings: bool = False) -> Generation:
        self._count += 1
        spec = msgspec.structs.replace(
            self._spec,
            adapters=[str(path) for path in adapters.values()],
            socket=f"{self._count}.sock",
            key=secrets.token_urlsafe(32),
            embeddings=embeddings,
        )
        generation = Generation(
            await Worker.start(spec, self._seconds), dict(adapters), Turns(spec.parallel), Slots(spec.parallel)
        )
        _keep(self._watching, self._watch(generation))
        return generation

    async def _watch(self, generation: Generation) -> None:
        how = await generation.worker.ended()
        if generation.retired:
            return
        log.error("worker_died", how=how, running=generation.running)
        await generation.worker.stop()
        if generation is self._embedder:
            self._embedder = None
        else:
            await self._replace(generation)

    async def _replace(self, dead: Generation) -> None:
        async with self._turn:
            if self._current is not dead:
                return
            self._current = None
            try:
                await self._swap({digest: path for digest, path in dead.adapters.items() if digest not in self._gone})
            except WorkerFailed as error:
                log.critical("worker_not_replaced", reason=str(error))
                self._on_broken()


async def _drain(generation: Generation) -> None:
    await generation.idle.wait()
    await generation.worker.stop()


def _keep(tasks: set[asyncio.Task[None]], work: Any) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
