"""Which of llama.cpp's slots a call goes to, so that what a slot has read before is used again, and by its owner alone.

A slot keeps what it read of its last prompt, and reads of the next one only what follows their common beginning. How
much that was is told in the usage, and in time: so a slot that somebody else has used reads everything anew.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

WORTH: Final = 0.1
"""The part of a prompt that a slot must have read already to be taken for that; else the one that has rested longest."""


class Place(NamedTuple):
    """A slot for a call. `reuse`: what it has read before was its owner's, and may be used."""

    number: int
    reuse: bool


class Slots:
    """The slots of one llama.cpp, who used each last, and what for."""

    def __init__(self, count: int) -> None:
        self._room = asyncio.Semaphore(count)
        self._resting = list(range(count))  # the one that has rested longest first
        self._last: list[tuple[str, str] | None] = [None] * count

    @asynccontextmanager
    async def place(self, owner: str, prompt: str) -> AsyncIterator[Place]:
        """A slot while the block runs; waits for one where there is none."""
        async with self._room:
            number = self._chosen(owner, prompt)
            self._resting.remove(number)
            before = self._last[number]
            self._last[number] = owner, prompt
            try:
                yield Place(number, before is not None and before[0] == owner)
            finally:
                self._resting.append(number)

    def _chosen(self, owner: str, prompt: str) -> int:
        """The resting slot that has read most of the prompt for this owner, if that is worth it."""
        best, most = self._resting[0], int(len(prompt) * WORTH)
        for number in self._resting:
            last = self._last[number]
            if last is not None and last[0] == owner and (shared := common(last[1], prompt)) > most:
                best, most = number, shared
        return best


def common(one: str, other: str) -> int:
    """How many characters two texts begin with alike; found by halving, since comparing slices is fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
