"""The engine's loop: a thread that admits requests, computes one step after the other, and lets go of what has ended.

Requests come and go between any two steps. A step reads one token of every request that is answering, and beside them as
many tokens of prompts as do not make those wait: answers never stall behind a long prompt.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
import torch

from charkha.core.errors import CharkhaError, Conflict, Invalid, Unavailable
from charkha.serve.engines.loom.adapter_weights import rank_of, read_adapter
from charkha.serve.engines.loom.adapters import RANKS, AdapterWeights, Applied, Arena
from charkha.serve.engines.loom.cache import KeyValueCache
from charkha.serve.engines.loom.model import Batch, Model, Segment
from charkha.serve.engines.loom.scheduler import Slots, admit, shares
from charkha.serve.engines.loom.work import Work

log = structlog.get_logger()

_PAUSE: Final = 0.05
_PATIENCE: Final = 1.0
"""Seconds after which a request that does not fit is no longer passed by others."""


@dataclass(frozen=True)
class Room:
    """How much the engine takes on: requests at once, tokens of each, bytes of keys and values, blocks of adapters.

    `beside` tokens of prompts are read in a step in which others answer, `alone` in one in which nobody does.
    `threads` compute a step; 0 leaves that to torch.
    """

    slots: int = 16
    context: int = 2048
    cache_bytes: int = 256 << 20
    blocks: int = 16
    beside: int = 64
    alone: int = 256
    threads: int = 0


class LoomEngine:
    """A model with its adapters, in a thread. Everything but `__init__` may be called from any thread."""

    def __init__(self, directory: Path, dtype: Any, room: Room, on_broken: Callable[[], object] = lambda: None) -> None:
        """Load the model in a Hugging Face directory. Raises Invalid for one that is not known.

        `on_broken` is called, in the engine's thread, when it cannot go on.
        """
        self.room, self._on_broken = room, on_broken
        self.model = Model(directory, dtype, room.context)
        self._cache = KeyValueCache(self.model.shape, room.slots, room.context, dtype)
        self._slots = Slots(room.slots, room.cache_bytes // self._cache.bytes_per_token)
        self._known: dict[str, tuple[Path, int]] = {}  # what requests may name: file and rank
        self._files: dict[str, tuple[Path, int]] = {}  # what accepted requests may still have to read
        self._arena = Arena(self.model.shape, room.blocks, dtype, self._read)
        self._waiting: list[Work] = []
        self._running: list[Work] = []
        self._removed: set[str] = set()
        self._condition = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="loom", daemon=True)
        self.steps = 0

    @property
    def most_tokens(self) -> int:
        """The most tokens, prompt and answer, that a request can have."""
        budget: int = self.room.cache_bytes // self._cache.bytes_per_token
        return min(self.room.context, budget)

    @property
    def adapters(self) -> dict[str, Path]:
        """The adapters that requests may name, and their files."""
        return {digest: path for digest, (path, _) in self._known.items()}

    @property
    def warm(self) -> list[str]:
        """The adapters that are in memory."""
        return self._arena.warm

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is being computed; requests that are not done get Unavailable."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def submit(self, work: Work) -> None:
        """Answer it as soon as there is room.

        Raises Conflict if an adapter is not known, Invalid if they have more ranks than there is room for, Unavailable
        when the engine is stopping.
        """
        with self._condition:
            if self._stopping:
                raise _stopped()
            for digest, _ in work.blend:
                self.check(digest)
            if sum(-(-self._known[digest][1] // RANKS) for digest, _ in work.blend) > self.room.blocks:
                message = (
                    f"adapters: they have more ranks together than the {self.room.blocks * RANKS} there is room for."
                )
                raise Invalid(message, param="adapters", remedy="Blend fewer, or raise warm_ranks of the engine.")
            work.since = time.monotonic()
            self._waiting.append(work)
            self._condition.notify()

    def check(self, digest: str) -> None:
        """Raises Conflict if requests may not name this adapter."""
        if digest not in self._known:
            raise _not_loaded(digest)

    def cancel(self, work: Work) -> None:
        """Stop working on it; its slot is free before the next step."""
        with self._condition:
            work.cancelled = True
            self._condition.notify()

    def add(self, digest: str, path: Path) -> None:
        """Let requests name the adapter in a file that was checked. Raises OSError; ValueError if it is too large."""
        rank = rank_of(path)
        if -(-rank // RANKS) > self.room.blocks:
            raise ValueError(f"its rank is {rank}; this engine has room for {self.room.blocks * RANKS}")
        with self._condition:
            self._known[digest] = self._files[digest] = (path, rank)
            self._removed.discard(digest)

    def remove(self, digest: str) -> None:
        """Refuse new requests that name the adapter, at once; those that were accepted keep it."""
        with self._condition:
            if self._known.pop(digest, None):
                self._removed.add(digest)
                self._condition.notify()

    def needs(self, digest: str) -> bool:
        """Whether a request that was accepted may still read the adapter's file."""
        with self._condition:
            return self._named(digest)

    def pin(self, digest: str, pinned: bool) -> None:
        """Keep an adapter in memory once it is there, or no longer. Raises Conflict if it is not known."""
        with self._condition:
            if digest not in self._known:
                raise _not_loaded(digest)
            self._arena.pin(digest, pinned)

    def _named(self, digest: str) -> bool:
        return any(digest == name for work in self._waiting for name, _ in work.blend)

    def _read(self, digest: str) -> AdapterWeights:
        return read_adapter(self._files[digest][0], self.model.shape, self.model.dtype)

    @torch.inference_mode()  # type: ignore[untyped-decorator]  # torch is not followed
    def _run(self) -> None:
        if self.room.threads:
            torch.set_num_threads(self.room.threads)  # here: OpenMP keeps that for each thread that computes
        try:
            while self._prepare():
                self._guarded_step()
        except Exception:
            log.exception("engine_broken")  # its books may be wrong now: nothing it would say could be trusted
            self._on_broken()
        finally:
            with self._condition:
                self._stopping = True
            self._fail([*self._running, *self._waiting], _stopped())

    def _guarded_step(self) -> None:
        try:
            self._step()
        except Exception:
            # Whatever it was, it concerns those who are in the step: they are told, all others go on.
            log.exception("step_failed", running=len(self._running))
            self._fail(list(self._running), _failed())

    def _prepare(self) -> bool:
        """Wait for work, let go of what was cancelled, admit what fits. False when the engine is to stop."""
        with self._condition:
            while not (self._waiting or self._running or self._removed or self._stopping):
                self._condition.wait()
            self._settle([work for work in self._running if work.cancelled])
            waiting = self._waiting = [work for work in self._waiting if not work.cancelled]
        now = time.monotonic()
        # Adapters are read here: nobody who submits is to wait for that.
        taken = set(admit(list(waiting), self._take, lambda work: now - work.since > _PATIENCE))
        with self._condition:
            self._running += [work for work in waiting if work in taken and not work.finished]
            self._waiting = [work for work in self._waiting if work not in taken]
            self._drop_removed()
            if self._waiting == waiting and waiting and not self._running:
                self._condition.wait(_PAUSE)  # nothing that ends will make room: something else must change
            return not self._stopping

    def _drop_removed(self) -> None:
        for digest in [each for each in self._removed if not self._named(each)]:
            self._arena.remove(digest)
            self._removed.discard(digest)
            self._files.pop(digest, None)

    def _take(self, work: Work) -> bool:
        """Give a request its adapters and a slot, if there are any for it now. One whose adapter cannot be read ends."""
        try:
            if not self._arena.hold(work.blend, {digest: self._files[digest][1] for digest, _ in work.blend}):
                return False
        except (OSError, ValueError, KeyError) as error:
            log.error("adapter_unreadable", reason=repr(error))
            work.finished = True
            work.emit(Unavailable("The adapter cannot be read.", remedy="Load it again.", code="adapter_unreadable"))
            return True
        place = self._slots.take(work.share, work.tokens, work.needed)
        if place is None:
            self._arena.release(work.blend)
            return False
        for slot in place.forgotten:
            self._cache.forget(slot)
        if place.known and place.source != place.slot:
            self._cache.copy(place.source, place.slot, place.known)
        work.slot, work.done, work.cached = place.slot, place.known, place.known
        return True

    def _settle(self, ended: list[Work]) -> None:
        """Free what ended requests hold."""
        for work in ended:
            self._slots.leave(work.slot)
            self._arena.release(work.blend)
            self._running.remove(work)

    def _fail(self, works: list[Work], error: CharkhaError) -> None:
        for work in works:
            work.emit(error)
        with self._condition:
            self._settle([work for work in works if work in self._running])
            self._waiting = [work for work in self._waiting if work not in works]

    def _step(self) -> None:
        """Read one share of every request's pending tokens."""
        singles = sorted((work for work in self._running if work.pending == 1), key=lambda work: work.slot)
        others = [work for work in self._running if work.pending > 1]
        budget = self.room.beside if singles else self.room.alone
        counts = shares([work.pending for work in others], budget)
        pieces = [(work, 1) for work in singles]
        pieces += [(work, count) for work, count in zip(others, counts, strict=True) if count]
        if not pieces:
            return
        logits, hidden = self.model.step(self._batch(pieces, len(singles)), self._cache)
        self.steps += 1
        row = asked = 0
        for work, count in pieces:
            wanted = len(work.wants(count))
            work.took(count, logits[asked : asked + wanted], hidden[row : row + count])
            self._slots.read(work.slot, work.tokens[: work.done])
            row, asked = row + count, asked + wanted
        with self._condition:
            self._settle([work for work, _ in pieces if work.finished])

    def _batch(self, pieces: list[tuple[Work, int]], singles: int) -> Batch:
        tokens: list[int] = []
        positions: list[int] = []
        wanted: list[int] = []
        segments, spans = [], [(slice(0, singles), [work.blend for work, _ in pieces[:singles]])]
        for number, (work, count) in enumerate(pieces):
            start = len(tokens)
            wanted += [start + each for each in work.wants(count)]
            tokens += work.tokens[work.done : work.done + count]
            positions += range(work.done, work.done + count)
            if number >= singles:
                segments.append(Segment(start, start + count, work.slot, work.done))
                spans.append((slice(start, start + count), [work.blend]))
        return Batch(
            torch.tensor(tokens),
            torch.tensor(positions),
            [work.slot for work, _ in pieces[:singles]],
            segments,
            torch.tensor(wanted, dtype=torch.int64),
            Applied(self._arena, spans, self.model.dtype),
        )


def _not_loaded(digest: str) -> Conflict:
    remedy = "Load it with PUT /adapters/{sha256}, then ask again."
    return Conflict(f"The adapter {digest} is not loaded.", remedy=remedy, code="adapter_not_loaded")


def _failed() -> CharkhaError:
    return CharkhaError("The engine failed on this request.", remedy="See the engine's log.", code="engine_failed")


def _stopped() -> CharkhaError:
    return Unavailable("The engine is stopping.", remedy="Try again.", code="engine_lost")
