"""Of equal requests that are under way at the same time one goes to the engine, and the others get its answer."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")
_LEADERS = 2  # whom one waits for in turn; a request that breaks its leaders is worth asking oneself


class Flight(Generic[T]):
    """One way to the engine. Whoever leads it ends it, by one of three calls; the first of them counts."""

    __slots__ = ("_flying", "_key", "answer", "ended", "shared")

    def __init__(self, flying: dict[bytes, "Flight[T]"], key: bytes) -> None:
        self._flying, self._key = flying, key
        self.ended, self.shared = asyncio.Event(), True
        self.answer: T | None = None
        flying[key] = self

    def land(self, answer: T) -> None:
        """Give everybody who waits the answer."""
        if not self.ended.is_set():
            self.answer = answer
            self._end()

    def part(self) -> None:
        """Let everybody who waits go their own way: this answer is not one for others."""
        if not self.ended.is_set():
            self.shared = False
            self._end()

    def fail(self) -> None:
        """Leave without an answer. One of those who wait leads."""
        if not self.ended.is_set():
            self._end()

    def _end(self) -> None:
        del self._flying[self._key]
        self.ended.set()


class Flights(Generic[T]):
    """The ways of one workspace's requests, by their keys. Nobody waits longer than they say."""

    def __init__(self) -> None:
        self._flying: dict[bytes, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flying)

    async def join(self, key: bytes, seconds: float) -> tuple[T | None, Flight[T] | None]:
        """(the answer of an equal request, None); (None, a flight to lead); (None, None): go alone.

        If who leads fails or departs, one of those who waited leads. Waits for `seconds` at most, in all.
        """
        try:
            async with asyncio.timeout(seconds):
                for _ in range(_LEADERS):
                    flight = self._flying.get(key)
                    if flight is None:
                        return None, Flight(self._flying, key)
                    await flight.ended.wait()
                    if flight.answer is not None or not flight.shared:
                        return flight.answer, None
                return None, Flight(self._flying, key) if key not in self._flying else None
        except TimeoutError:
            return None, None  # whoever leads is slow, or its client is: one's own way is open
