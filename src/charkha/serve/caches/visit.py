"""One request's way through its endpoint's cache: found there, found under way, or asked of the engine and kept."""

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol

from charkha.serve.admission import Order
from charkha.serve.caches import answers
from charkha.serve.caches.exact import Kept
from charkha.serve.caches.flights import Flight
from charkha.serve.caches.policy import CachePolicy, SemanticPolicy
from charkha.serve.caches.process import Caches, Landed, Question
from charkha.serve.caches.rules import NOTHING, key, question

HIT, SEMANTIC, MISS, OFF = "hit", "semantic", "miss", "off"


class Telling(Protocol):
    """An answer on its way to the client (`streaming.Relay`, `translating.TranslatingRelay`)."""

    @property
    def done(self) -> bool: ...
    def whole(self, body: bytes) -> bytes: ...
    def chunk(self, payload: bytes) -> bytes: ...
    def ending(self) -> bytes: ...


class Found(NamedTuple):
    """An answer that is given again; `age` is in seconds, `similarity` a cosine, None where the same was asked."""

    body: bytes
    age: float
    similarity: float | None

    def chunks(self) -> list[bytes]:
        """The payloads of the events that stream it."""
        return answers.chunks(self.body)


class Visit:
    """One request at its endpoint's cache. Left as a context manager, so that nobody waits for one that has gone."""

    __slots__ = ("_cache", "_caches", "_flight", "_key", "_order", "_policy", "_question", "_wish", "result")

    def __init__(self, caches: Caches, policy: CachePolicy, order: Order) -> None:
        request = order.request
        self._caches, self._cache, self._policy = caches, caches.of(request.workspace_id), policy
        self._order, self._wish = order, order.wish or NOTHING
        self._key = key(request.operation, request.target, order.body) if self._wish.keep else b""
        self._flight: Flight[Landed] | None = None
        self._question: Question | None = None
        self.result = OFF

    def __enter__(self) -> "Visit":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._flight is not None:
            self._flight.fail()

    async def find(self, patience: float) -> Found | None:
        """The answer to give again, if there is one. Waits for an equal request for `patience` seconds at most."""
        if not self._wish.look:
            return None
        landed = await self._landed(patience)
        if landed is None:
            self.result = MISS
            return None
        self.result = HIT if landed.similarity is None else SEMANTIC
        return Found(landed.kept.body, max(0.0, self._caches.clock() - landed.kept.stored), landed.similarity)

    @property
    def recorded(self) -> str | None:
        """What the log says of it: nothing where nobody looked."""
        return None if self.result == OFF else self.result

    def headers(self, found: Found | None) -> list[tuple[bytes, bytes]]:
        """What the client is told of it."""
        told = [(b"x-charkha-cache", self.result.encode())]
        if found is not None:
            told.append((b"age", b"%d" % found.age))
            if found.similarity is not None:
                told.append((b"x-charkha-similarity", b"%.4f" % found.similarity))
        return told

    def tape(self, telling: Telling) -> Telling:
        """The engine's answer on its way, which is kept as it passes if it may be."""
        return Tape(telling, self._cache.largest, self._keep) if self._wish.keep else telling

    async def _landed(self, patience: float) -> Landed | None:
        kept = self._cache.exact.get(self._key, self._wish.max_age)
        if kept is not None:
            return Landed(kept, None)
        landed, self._flight = await self._cache.flights.join(self._key, patience)
        if landed is None and self._policy.semantic is not None:
            landed = await self._alike(self._policy.semantic)
            if landed is not None and self._flight is not None:
                self._flight.land(landed)
        return landed

    async def _alike(self, policy: SemanticPolicy) -> Landed | None:
        """The answer to the nearest question that was asked before, if that is near enough."""
        request = self._order.request
        asked = question(request.operation, request.target, self._order.body)
        numbers: list[float] | None = None
        if asked is not None:
            numbers = await self._caches.embedder.embed(request.workspace_id, policy, asked[1])
        if asked is None or numbers is None:
            return None
        questions = await self._cache.questions()
        vector = questions.vector(numbers)
        if vector is None:
            return None
        self._question = Question(asked[0], vector)
        near = questions.nearest(asked[0], vector, policy.threshold)
        kept = self._cache.exact.get(near.key, self._wish.max_age) if near is not None else None
        return Landed(kept, near.similarity) if near is not None and kept is not None else None

    def part(self) -> None:
        """Let whoever waits go their own way: this answer is not one for others."""
        if self._flight is not None:
            self._flight.part()

    def _keep(self, body: bytes | None) -> None:
        """Keep a whole answer and give it to those who wait; None for one that could not be put together."""
        if body is None or not answers.is_good(body):
            self.part()
            return
        target, asked = self._order.request.target, self._question
        extra = asked.bytes if asked is not None else 0
        kept = Kept(body, target.endpoint_id, target.cache_epoch, self._caches.clock(), self._policy.seconds, extra)
        self._caches.keep(self._cache, self._key, kept, asked)
        if self._flight is not None:
            self._flight.land(Landed(kept, None))


class Tape:
    """Passes an answer on and keeps the engine's words of it, up to `most` bytes. `ended` gets the whole answer.

    It is told before the client has the last byte: whoever waits for it does not wait for a client that reads slowly.
    """

    __slots__ = ("_chunks", "_ended", "_most", "_size", "_telling")

    def __init__(self, telling: Telling, most: int, ended: Callable[[bytes | None], None]) -> None:
        self._telling, self._most, self._ended = telling, most, ended
        self._chunks: list[bytes] = []
        self._size = 0

    @property
    def done(self) -> bool:
        """Whether the engine has ended its answer."""
        return self._telling.done

    def whole(self, body: bytes) -> bytes:
        """A whole answer, as the client gets it."""
        told = self._telling.whole(body)
        self._ended(body if len(body) <= self._most else None)
        return told

    def chunk(self, payload: bytes) -> bytes:
        """One event as the client gets it."""
        told = self._telling.chunk(payload)
        if self._telling.done:
            if self._size <= self._most:
                self._ended(answers.assembled(self._chunks))
        elif self._size <= self._most:
            self._size += len(payload)
            self._chunks.append(payload)
            if self._size > self._most:
                self._chunks = []
                self._ended(None)
        return told

    def ending(self) -> bytes:
        """What ends the stream."""
        return self._telling.ending()
