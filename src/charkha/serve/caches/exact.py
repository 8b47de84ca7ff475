"""The answers that one workspace may get again: the least recently used goes first, and none outlives its time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

ENTRY_BYTES = 512
"""What keeping an answer takes besides its bytes: the key, the entry, its place in the order."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as the engine wrote it, whole. `stored` is an instant of the cache's clock, `seconds` its time from then
    on, `epoch` that of its endpoint, `extra` are bytes that are kept for it elsewhere."""

    body: bytes
    endpoint_id: UUID | None
    epoch: int
    stored: float
    seconds: float
    extra: int = 0

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.body) + self.extra + ENTRY_BYTES


class ExactCache:
    """Answers of the workspace `workspace_id` by their keys, of `max_bytes` in all. `dropped` is told of each that goes."""

    def __init__(
        self,
        workspace_id: UUID,
        max_bytes: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        dropped: Callable[[bytes], None] = lambda key: None,
    ) -> None:
        self.workspace_id, self.max_bytes, self.bytes = workspace_id, max_bytes, 0
        self.clock, self._dropped = clock, dropped
        self._entries: OrderedDict[bytes, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, max_age: float) -> Kept | None:
        """The answer under a key, unless it is older than `max_age` seconds or its own time."""
        kept = self._entries.get(key)
        if kept is None:
            return None
        age = self.clock() - kept.stored
        if age > kept.seconds:
            self._drop(key)
            return None
        if age > max_age:
            return None
        self._entries.move_to_end(key)
        return kept

    def put(self, key: bytes, kept: Kept) -> bool:
        """Keep an answer, in the place of those that were least recently used; whether it fits at all."""
        self._drop(key)
        if kept.size > self.max_bytes:
            return False
        while self.bytes + kept.size > self.max_bytes:
            self.drop_oldest()
        self._entries[key] = kept
        self.bytes += kept.size
        return True

    def drop_oldest(self) -> None:
        """Forget the answer that was least recently used. Raises KeyError where there is none."""
        key, kept = self._entries.popitem(last=False)
        self._forgotten(key, kept)

    def sweep(self, epochs: Callable[[UUID | None], int | None]) -> None:
        """Forget what has outlived its time, and what is of another epoch than its endpoint's (None: it caches nothing)."""
        now = self.clock()
        for key, kept in list(self._entries.items()):
            if now - kept.stored > kept.seconds or epochs(kept.endpoint_id) != kept.epoch:
                self._drop(key)

    def _drop(self, key: bytes) -> None:
        kept = self._entries.pop(key, None)
        if kept is not None:
            self._forgotten(key, kept)

    def _forgotten(self, key: bytes, kept: Kept) -> None:
        self.bytes -= kept.size
        self._dropped(key)
