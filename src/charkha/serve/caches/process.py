"""The caches of one gateway process: one for each workspace, within the bytes that the process may hold.

Boundary: the only place where a cache is chosen. Whoever has one has it of one workspace, and reaches no other.
"""

import asyncio
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from charkha.serve import metrics
from charkha.serve.caches.embedding import Embedder
from charkha.serve.caches.exact import ExactCache, Kept
from charkha.serve.caches.flights import Flights
from charkha.serve.upstream import Upstream

if TYPE_CHECKING:
    from charkha.serve.caches.semantic import SemanticIndex, Vector

SWEEP_SECONDS = 15.0
_QUESTION_BYTES = 256
_LARGEST = 8  # an answer takes at most this part of its workspace's bytes


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """Bytes of answers that a gateway process keeps in all, and for one workspace."""

    max_bytes: int = 64 * 2**20
    workspace_bytes: int = 16 * 2**20


class Landed(NamedTuple):
    """An answer for those who wait for it; `similarity` is the cosine of the question that it was given to, or None where
    that was the same."""

    kept: Kept
    similarity: float | None


class Question(NamedTuple):
    """What was asked: everything around it, named, and its own direction."""

    scope: bytes
    vector: "Vector"

    @property
    def bytes(self) -> int:
        """What remembering it takes: rows of vectors are grown by doubling."""
        return 2 * self.vector.nbytes + _QUESTION_BYTES


class WorkspaceCache:
    """The answers of one workspace, and its requests that are under way."""

    def __init__(self, workspace_id: UUID, max_bytes: int, clock: Callable[[], float]) -> None:
        self.workspace_id = workspace_id
        self.exact = ExactCache(workspace_id, max_bytes, clock=clock, dropped=self._dropped)
        self.flights: Flights[Landed] = Flights()
        self.largest = max_bytes // _LARGEST
        self._questions: SemanticIndex | None = None

    async def questions(self) -> "SemanticIndex":
        """What was asked here before. The first time that takes a while, in a thread: it imports numpy."""
        if self._questions is None:
            module = await asyncio.to_thread(importlib.import_module, "charkha.serve.caches.semantic")
            self._questions = self._questions or module.SemanticIndex(self.workspace_id)
        found: SemanticIndex = self._questions
        return found

    def put(self, key: bytes, kept: Kept, question: "Question | None") -> bool:
        """Keep an answer, and the question that it is to, if that may be answered alike."""
        fits = self.exact.put(key, kept)
        if fits and question is not None and self._questions is not None:
            self._questions.add(question.scope, key, question.vector)
        return fits

    def _dropped(self, key: bytes) -> None:
        if self._questions is not None:
            self._questions.drop(key)


class Caches:
    """Every workspace's cache in this process. `epochs` tells the epoch of an endpoint, None if it caches nothing."""

    def __init__(
        self,
        limits: CacheLimits,
        epochs: Callable[[], dict[UUID, int]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._epochs, self.clock = limits, epochs, clock
        self._of: dict[UUID, WorkspaceCache] = {}
        self._sweeping: asyncio.Task[None] | None = None

    def of(self, workspace_id: UUID) -> WorkspaceCache:
        """The cache of a workspace."""
        cache = self._of.get(workspace_id)
        if cache is None:
            most = min(self._limits.workspace_bytes, self._limits.max_bytes)
            cache = self._of[workspace_id] = WorkspaceCache(workspace_id, most, self.clock)
        return cache

    def keep(self, cache: WorkspaceCache, key: bytes, kept: Kept, question: Question | None = None) -> bool:
        """Keep an answer in a workspace's cache. Where the process is full, the largest cache gives way."""
        fits = cache.put(key, kept, question)
        while self.bytes > self._limits.max_bytes:
            max(self._of.values(), key=lambda each: each.exact.bytes).exact.drop_oldest()
        self._tell()
        return fits

    @property
    def bytes(self) -> int:
        """Bytes that all answers take."""
        return sum(each.exact.bytes for each in self._of.values())

    def start(self, upstream: Upstream) -> None:
        """Forget in the background what is outdated; embeddings are asked by way of `upstream`."""
        self.embedder = Embedder(upstream)
        self._sweeping = asyncio.create_task(self._sweep_forever())

    async def stop(self) -> None:
        """Forget everything."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        self._of.clear()
        self._tell()

    def sweep(self) -> None:
        """Forget what has outlived its time or its endpoint's epoch, and caches that hold nothing."""
        epochs = self._epochs()
        for workspace_id, cache in list(self._of.items()):
            cache.exact.sweep(lambda endpoint_id: epochs.get(endpoint_id) if endpoint_id else None)
            if not cache.exact and not cache.flights:
                del self._of[workspace_id]
        self._tell()

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self._of:
                self.sweep()

    def _tell(self) -> None:
        metrics.cache_bytes.set(self.bytes)
        metrics.cache_answers.set(sum(len(each.exact) for each in self._of.values()))
