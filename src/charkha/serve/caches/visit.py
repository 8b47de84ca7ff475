"""One request's way through its endpoint's cache: found there, found under way, or asked of the engine and kept."""

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol

from charkha.serve.admission import Order
from charkha.serve.caches import answers
from charkha.serve.caches.exact import Kept
from charkha.serve.caches.flights import Flight
from charkha.serve.caches.process import Caches
from charkha.serve.caches.rules import NOTHING, key

HIT, MISS, OFF = "hit", "miss", "off"


class Telling(Protocol):
    """An answer on its way to the client (`streaming.Relay`, `translating.TranslatingRelay`)."""

    @property
    def done(self) -> bool: ...
    def whole(self, body: bytes) -> bytes: ...
    def chunk(self, payload: bytes) -> bytes: ...
    def ending(self) -> bytes: ...


class Found(NamedTuple):
    """An answer that is given again; `age` is in seconds."""

    body: bytes
    age: float

    def chunks(self) -> list[bytes]:
        """The payloads of the events that stream it."""
        return answers.chunks(self.body)


class Visit:
    """One request at its endpoint's cache. Left as a context manager, so that nobody waits for one that has gone."""

    __slots__ = ("_cache", "_caches", "_flight", "_key", "_target", "_wish", "result")

    def __init__(self, caches: Caches, order: Order) -> None:
        request, wish = order.request, order.wish or NOTHING
        self._caches, self._cache = caches, caches.of(request.workspace_id)
        self._target, self._wish = request.target, wish
        self._key = key(request.operation, request.target, order.body) if wish.keep else b""
        self._flight: Flight[Kept] | None = None
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
        kept = self._cache.exact.get(self._key, self._wish.max_age)
        if kept is None:
            kept, self._flight = await self._cache.flights.join(self._key, patience)
        self.result = MISS if kept is None else HIT
        return None if kept is None else Found(kept.body, max(0.0, self._caches.clock() - kept.stored))

    @property
    def recorded(self) -> str | None:
        """What the log says of it: nothing where nobody looked."""
        return None if self.result == OFF else self.result

    def headers(self, found: Found | None) -> list[tuple[bytes, bytes]]:
        """What the client is told of it."""
        told = [(b"x-charkha-cache", self.result.encode())]
        return told if found is None else [*told, (b"age", b"%d" % found.age)]

    def tape(self, telling: Telling) -> Telling:
        """The engine's answer on its way, which is kept as it passes if it may be."""
        return Tape(telling, self._cache.largest, self._keep) if self._wish.keep else telling

    def _keep(self, body: bytes | None) -> None:
        """Keep a whole answer and give it to those who wait; None for one that could not be put together."""
        if body is None or not answers.is_good(body):
            if self._flight is not None:
                self._flight.part()
            return
        target, now = self._target, self._caches.clock()
        seconds = target.cache.seconds if target.cache is not None else 0
        kept = Kept(body, target.endpoint_id, target.cache_epoch, now, seconds)
        self._caches.keep(self._cache, self._key, kept)
        if self._flight is not None:
            self._flight.land(kept)


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
