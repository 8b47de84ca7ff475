"""What moves on a page: fragments made anew when they may have changed, sent as server-sent events.

However many pages show the same thing with the same rights, it is made once a beat, and only what differs is sent. The
beat slows down while nothing changes, and as more different things are watched, so that pages never take more than a
part of the process.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager

import msgspec

from charkha.console.api import Refused
from charkha.core.errors import CharkhaError
from charkha.kit import telemetry

Fragments = dict[str, str]
"""Element id → HTML."""
Make = Callable[[], Awaitable[Fragments]]
MOST_SHARE, BEAT_SECONDS, SLOWEST_BEAT, SLOWING, QUIET_SECONDS = 0.2, 1.0, 5.0, 1.3, 15.0
log = telemetry.logger(__name__)


class Watched:
    """One thing that pages watch: its newest fragments, numbered, and the task that makes them."""

    def __init__(self, make: Make) -> None:
        self.make, self.watchers = make, 0
        self.fragments: dict[str, tuple[int, str]] = {}
        self.number, self.ended = 0, False
        self.changed = asyncio.Condition()
        self.task: asyncio.Task[None] | None = None

    async def look(self) -> bool:
        """Make the fragments once; returns whether any of them differs from before."""
        before = self.number
        try:
            made = await self.make()
        except (Refused, CharkhaError) as error:
            self.ended = error.status in (401, 403, 404)  # there is nothing (more) to see; else it may come back
            log.info("console.live", reason=str(error))
            made = {}
        except Exception as error:  # the next beat may go well
            log.error("console.live_fault", exc_info=error)
            made = {}
        async with self.changed:
            for name, html in made.items():
                if self.fragments.get(name, (0, ""))[1] != html:
                    self.number += 1
                    self.fragments[name] = (self.number, html)
            self.changed.notify_all()
        return self.number > before


class Live:
    """Everything that is watched now."""

    def __init__(self, *, beat: float = BEAT_SECONDS) -> None:
        self._beat = beat
        self._watched: dict[Hashable, Watched] = {}

    @property
    def count(self) -> int:
        """How many pages are watching."""
        return sum(watched.watchers for watched in self._watched.values())

    async def stream(self, key: Hashable, make: Make) -> AsyncGenerator[bytes]:
        """Server-sent events for one page: each has an element's id as its name and its HTML as data.

        Pages with an equal `key` share one maker; the key must hold everything that decides what may be seen.
        """
        async with self._watching(key, make) as watched:
            seen = 0
            yield b"retry: 2000\n\n"
            while True:
                fresh = sorted(
                    (number, name, html) for name, (number, html) in watched.fragments.items() if number > seen
                )
                for number, name, html in fresh:
                    seen = number
                    yield _event("fragment", {"id": name, "html": html})
                if watched.ended and seen >= watched.number:
                    break
                if not fresh and not await _changed(watched, seen):
                    yield b": still here\n\n"  # keeps proxies from closing a quiet stream, and finds a reader that left
            yield _event("end", {})

    @asynccontextmanager
    async def _watching(self, key: Hashable, make: Make) -> AsyncIterator[Watched]:
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = Watched(make)
            watched.task = asyncio.create_task(self._follow(watched))
        watched.watchers += 1
        try:
            yield watched
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                self._watched.pop(key, None)
                if watched.task:
                    watched.task.cancel()

    async def _follow(self, watched: Watched) -> None:
        pause = self._beat
        while not watched.ended:
            began = time.monotonic()
            pause = self._beat if await watched.look() else min(pause * SLOWING, SLOWEST_BEAT)
            took = time.monotonic() - began
            await asyncio.sleep(max(pause, took * len(self._watched) / MOST_SHARE))


async def _changed(watched: Watched, seen: int) -> bool:
    """Wait for something newer than `seen`; False where nothing came for a while."""
    try:
        async with asyncio.timeout(QUIET_SECONDS), watched.changed:
            await watched.changed.wait_for(lambda: watched.number > seen or watched.ended)
    except TimeoutError:
        return False
    return True


def _event(name: str, data: dict[str, str]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))
