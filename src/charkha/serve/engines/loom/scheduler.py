"""Who gets a slot, and which tokens the next step reads. Pure: no torch, no clock, no thread.

Slots remember the tokens whose keys and values they hold, under a key that names workspace and adapters: a request that
begins alike, of the same workspace with the same adapters, goes on from there. Nobody else's tokens are ever looked at.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Place:
    """Where a request may go: its slot, how many of its tokens are known already, and from which slot to copy them.

    `source` is the slot itself when it holds them. `forgotten` slots are to give their memory back.
    """

    slot: int
    known: int
    source: int
    forgotten: tuple[int, ...] = ()


@dataclass
class _Slot:
    """`claimed` tokens of memory; `tokens` read under `key`; `used` tells when it was last given or left."""

    busy: bool = False
    claimed: int = 0
    key: Hashable = None
    tokens: Sequence[int] = field(default_factory=list)
    used: int = 0


class Slots:
    """`count` slots that may claim memory for `budget` tokens together."""

    def __init__(self, count: int, budget: int) -> None:
        self._slots, self._budget, self._clock = [_Slot() for _ in range(count)], budget, 0

    @property
    def claimed(self) -> int:
        """How many tokens have memory now."""
        return sum(slot.claimed for slot in self._slots)

    def take(self, key: Hashable, tokens: list[int], needed: int) -> Place | None:
        """A slot for a request of these prompt tokens that may grow to `needed`; None while there is none for it.

        `tokens` stays the caller's to append to: the first `known` of them, and what `read` tells, are what the slot holds.
        `key` None shares with nobody.
        """
        free = [number for number, slot in enumerate(self._slots) if not slot.busy]
        if not free:
            return None
        source, known = self._longest(key, tokens)
        slot = source if known and source in free else min(free, key=lambda each: (self._value(each), each))
        forgotten = self._forgettable(slot, source if known else slot, needed, free)
        if forgotten is None:
            return None
        for each in forgotten:
            self._slots[each] = _Slot()
        self._clock += 1
        claimed = max(self._slots[slot].claimed, needed)
        self._slots[slot] = _Slot(True, claimed, key, tokens[:known], self._clock)
        return Place(slot, known, source if known else slot, tuple(forgotten))

    def read(self, slot: int, tokens: Sequence[int]) -> None:
        """The slot holds keys and values of these tokens."""
        self._slots[slot].tokens = tokens

    def leave(self, slot: int) -> None:
        """Its request has ended; what it holds stays until memory or slots run short."""
        self._clock += 1
        self._slots[slot].busy, self._slots[slot].used = False, self._clock

    def _longest(self, key: Hashable, tokens: Sequence[int]) -> tuple[int, int]:
        """The slot that knows most of `tokens` under `key`, and how many: never all, for the last gives the first logits."""
        if key is None:
            return 0, 0
        shared = [_common(slot.tokens, tokens) if slot.key == key else 0 for slot in self._slots]
        best = max(range(len(shared)), key=shared.__getitem__)
        return best, min(shared[best], len(tokens) - 1)

    def _value(self, number: int) -> tuple[bool, int]:
        """What taking a free slot would lose: nothing if it remembers nothing, else the longer unused the less."""
        slot = self._slots[number]
        return bool(slot.tokens) and slot.key is not None, slot.used

    def _forgettable(self, slot: int, source: int, needed: int, free: Sequence[int]) -> list[int] | None:
        """Free slots to forget, longest unused first, so that `needed` tokens fit; None if they cannot."""
        excess = self.claimed - self._slots[slot].claimed + max(self._slots[slot].claimed, needed) - self._budget
        found = []
        for each in sorted(free, key=lambda number: self._slots[number].used):
            if excess <= 0:
                break
            if each in (slot, source):
                continue
            excess -= self._slots[each].claimed
            found.append(each)
        if 0 < excess <= self._slots[slot].claimed - needed and slot != source:
            found.append(slot)  # it is larger than this request needs
            excess = 0
        return found if excess <= 0 else None


def admit(waiting: Sequence[Item], take: Callable[[Item], bool], overdue: Callable[[Item], bool]) -> list[Item]:
    """Those that `take` accepts, in order. One that does not fit is passed by others only until it is `overdue`."""
    taken = []
    for each in waiting:
        if take(each):
            taken.append(each)
        elif overdue(each):
            break
    return taken


def shares(pending: Sequence[int], budget: int) -> list[int]:
    """How many of their pending tokens requests read in one step: alike for all, and what one does not need for others.

    Every request reads at least one while the budget lasts; earlier ones come first.
    """
    given = [0] * len(pending)
    left = budget
    hungry = [index for index, count in enumerate(pending) if count > 0]
    while left > 0 and hungry:
        each = max(1, left // len(hungry))
        for index in hungry:
            more = min(each, pending[index] - given[index], left)
            given[index] += more
            left -= more
        hungry = [index for index in hungry if given[index] < pending[index]]
    return given


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    count = 0
    for left, right in zip(first, second, strict=False):
        if left != right:
            break
        count += 1
    return count
