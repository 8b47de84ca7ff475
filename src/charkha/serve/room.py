"""How many requests there may be at once in a gateway process, and the end of the last one."""

import asyncio
import contextlib

from charkha.core.errors import Unavailable
from charkha.serve import metrics


class Room:
    """Places for `most` requests, of which `taken` are in use: `with room:` takes one.

    Raises Unavailable where there is none, or after `drain`.
    """

    __slots__ = ("_draining", "_idle", "_most", "taken")

    def __init__(self, most: int) -> None:
        self._most, self.taken, self._draining = most, 0, False
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        if self._draining or self.taken >= self._most:
            raise Unavailable("There is no room for more requests now.", code="overloaded", remedy="Try again.")
        self.taken += 1
        self._idle.clear()
        metrics.in_flight.inc()

    def __exit__(self, *error: object) -> None:
        self.taken -= 1
        metrics.in_flight.dec()
        if not self.taken:
            self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Refuse new requests, and wait for the running ones, but no longer than `seconds`."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
