"""Blends of adapters take turns on one llama.cpp, oldest waiter first.

llama.cpp computes only requests of one blend together. Given several it goes on with whichever is in its lowest slot,
so under steady traffic a rare blend (a canary) waited for a minute and more. Here a blend stops taking new requests as
soon as another has waited for `PATIENCE`; when its running ones have ended, the oldest waiter's blend has the turn.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from charkha.serve.engines.engine_fields import AdapterUse

PATIENCE: Final = 0.25
"""Seconds that a blend may wait before the one that has the turn takes no more requests."""

Blend = tuple[tuple[str, float], ...]


def blend_of(uses: Sequence[AdapterUse]) -> Blend:
    """What requests must have in common to be computed together: adapters and weights, in whichever order."""
    return tuple(sorted((use.id, use.weight) for use in uses))


@dataclass(eq=False)
class _Waiter:
    blend: Blend
    calls: int
    since: float
    admitted: asyncio.Event


class Turns:
    """Who may send to one llama.cpp now. `slots` is how many calls it computes at once."""

    def __init__(self, slots: int) -> None:
        self._slots, self._running = slots, 0
        self._blend: Blend | None = None
        self._waiting: list[_Waiter] = []

    @asynccontextmanager
    async def turn(self, blend: Blend, calls: int = 1) -> AsyncIterator[None]:
        """Wait for the blend's turn and hold `calls` slots (or all there are) while the block runs."""
        waiter = _Waiter(blend, calls, time.monotonic(), asyncio.Event())
        self._waiting.append(waiter)
        self._admit()
        try:
            await waiter.admitted.wait()
            yield
        finally:
            if waiter.admitted.is_set():
                self._running -= calls
            else:
                self._waiting.remove(waiter)
            self._admit()

    def _admit(self) -> None:
        """Admit waiters, oldest first, as far as turn and slots allow."""
        if not self._running and self._waiting:
            self._blend = self._waiting[0].blend
        overdue = self._overdue()
        for waiter in [each for each in self._waiting if each.blend == self._blend]:
            if overdue is not None and overdue.since < waiter.since:
                return
            if self._running and self._running + waiter.calls > self._slots:
                return
            self._waiting.remove(waiter)
            self._running += waiter.calls
            waiter.admitted.set()

    def _overdue(self) -> _Waiter | None:
        """The oldest waiter of another blend, once it has waited long enough to be given way to."""
        other = next((each for each in self._waiting if each.blend != self._blend), None)
        return other if other and time.monotonic() - other.since >= PATIENCE else None
