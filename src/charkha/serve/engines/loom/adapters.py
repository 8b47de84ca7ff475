"""Adapters in memory: blocks of ranks in one matrix for each linear layer, so that a batch's adapters are one product.

The *arena* keeps, for every fused linear layer, A [blocks·w, in] and B [blocks·w, out]. A block holds RANKS ranks of one
adapter for each of the projections fused there (w ranks in all, B zero outside its own projection). A row's adapters and
their weights are then a mask over the inner result: y += ((x·Aᵀ) ∘ mask)·B. A blend costs no more than its adapters, and a
weight or a mixture is never computed into memory. An adapter of a higher rank has several blocks, one of a lower rank or
of fewer targets has zeros.

Blocks are loaded and evicted by use between steps. A request holds its adapters' blocks until it ends; an adapter that was
taken away meanwhile leaves only then. An adapter is known by the digest of its file, so no name ever changes its meaning.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from charkha.serve.engines.loom.architecture import Architecture

RANKS: Final = 16
"""Ranks of one block."""

Blend = tuple[tuple[str, float], ...]
"""The adapters of a request: digests and weights, sorted; none is the base model."""


@dataclass(frozen=True)
class AdapterWeights:
    """One adapter as the arena takes it: (layer, projection) → A [rank, in] and B [rank, out], B with the scale folded in."""

    rank: int
    pairs: Mapping[tuple[int, str], tuple[Tensor, Tensor]]

    @property
    def blocks(self) -> int:
        """How many blocks of the arena it takes."""
        return -(-self.rank // RANKS)


@dataclass
class _Warm:
    """An adapter in the arena: its blocks, how many requests hold it, whether it was taken away."""

    blocks: list[int]
    holders: int = 0
    gone: bool = False


class Arena:
    """The blocks of all adapters that are warm. `load` reads an adapter by its digest; it may raise OSError or Invalid."""

    def __init__(self, shape: Architecture, blocks: int, dtype: Any, load: Callable[[str], AdapterWeights]) -> None:
        self.shape, self._load, self._blocks = shape, load, blocks
        self._warm: OrderedDict[str, _Warm] = OrderedDict()
        self._pinned: set[str] = set()
        self._free = list(range(blocks))
        self._first: dict[str, Tensor] = {}
        self._second: dict[str, Tensor] = {}
        for fused, parts in shape.projections.items():
            rows = blocks * RANKS * len(parts)
            self._first[fused] = torch.zeros(shape.layers, rows, shape.inputs(fused), dtype=dtype)
            self._second[fused] = torch.zeros(shape.layers, rows, sum(parts.values()), dtype=dtype)
        self.loads = self.evictions = 0

    @property
    def warm(self) -> list[str]:
        """The adapters in the arena, those used longest ago first."""
        return list(self._warm)

    def hold(self, blend: Blend, ranks: Mapping[str, int]) -> bool:
        """Have every adapter of the blend in the arena and keep it there; False if there is no room for it now.

        `ranks` tells the rank of each. An adapter that is not warm is loaded.
        """
        names = [digest for digest, _ in blend]
        missing = [name for name in names if name not in self._warm]
        wanted = sum(-(-ranks[name] // RANKS) for name in missing)
        if not self._make_room(wanted, set(names)):
            return False
        for name in missing:
            self._place(name)
        for name in names:
            self._warm.move_to_end(name)
            self._warm[name].holders += 1
        return True

    def release(self, blend: Blend) -> None:
        """A request of this blend has ended."""
        for digest, _ in blend:
            warm = self._warm[digest]
            warm.holders -= 1
            if warm.gone and not warm.holders:
                self._drop(digest)

    def pin(self, digest: str, pinned: bool) -> None:
        """Keep an adapter from being evicted once it is warm, or no longer."""
        if pinned:
            self._pinned.add(digest)
        else:
            self._pinned.discard(digest)

    def remove(self, digest: str) -> None:
        """Drop an adapter, as soon as no request holds it."""
        self._pinned.discard(digest)
        warm = self._warm.get(digest)
        if warm is None:
            return
        warm.gone = True
        if not warm.holders:
            self._drop(digest)

    def blocks_of(self, blend: Blend) -> list[tuple[int, float]]:
        """The blocks of a blend that is held, each with its weight."""
        return [(block, weight) for digest, weight in blend for block in self._warm[digest].blocks]

    def matrices(self, fused: str) -> tuple[Tensor, Tensor]:
        """A [layers, blocks·w, in] and B [layers, blocks·w, out] of a fused linear layer."""
        return self._first[fused], self._second[fused]

    def _make_room(self, wanted: int, kept: set[str]) -> bool:
        """Evict, least recently used first, until `wanted` blocks are free; nothing at all if that cannot be had."""
        idle = [name for name, warm in self._warm.items() if not (warm.holders or name in self._pinned | kept)]
        if len(self._free) + sum(len(self._warm[name].blocks) for name in idle) < wanted:
            return False
        for name in idle:
            if len(self._free) >= wanted:
                break
            self._drop(name)
            self.evictions += 1
        return True

    def _place(self, digest: str) -> None:
        weights = self._load(digest)
        blocks, self._free = self._free[: weights.blocks], self._free[weights.blocks :]
        for number, block in enumerate(blocks):
            self._write(block, weights, number * RANKS)
        self._warm[digest] = _Warm(blocks)
        self.loads += 1

    def _write(self, block: int, weights: AdapterWeights, rank: int) -> None:
        """Fill a block with the adapter's ranks from `rank` on."""
        for fused, parts in self.shape.projections.items():
            width = RANKS * len(parts)
            rows = slice(block * width, (block + 1) * width)
            first, second = self._first[fused][:, rows], self._second[fused][:, rows]
            first.zero_()
            second.zero_()
            offset = 0
            for place, (projection, outputs) in enumerate(parts.items()):
                for layer in range(self.shape.layers):
                    pair = weights.pairs.get((layer, projection))
                    if pair is not None:
                        part_a, part_b = (each[rank : rank + RANKS] for each in pair)
                        start = place * RANKS
                        first[layer, start : start + len(part_a)] = part_a
                        second[layer, start : start + len(part_b), offset : offset + outputs] = part_b
                offset += outputs

    def _drop(self, digest: str) -> None:
        self._free = sorted([*self._free, *self._warm.pop(digest).blocks])


class Applied:
    """The adapters of one step's rows: `model.LowRank`. Rows that follow one another are computed together."""

    def __init__(self, arena: Arena, spans: Sequence[tuple[slice, Sequence[Blend]]], dtype: Any) -> None:
        """`spans`: rows of the batch, and the blend of each of them (or one for all of them)."""
        self._arena = arena
        self._spans = [span for rows, blends in spans if (span := _span(arena, rows, blends, dtype)) is not None]

    def add(self, layer: int, fused: str, rows: Tensor, output: Tensor) -> None:
        """Add the adapters' products of the `fused` linear layer to `output` [T, out], given its input `rows` [T, in]."""
        first, second = self._arena.matrices(fused)
        for span in self._spans:
            mask = span.masks[fused]
            low, high = span.first * mask.width, span.last * mask.width
            inner = torch.nn.functional.linear(rows[span.rows], first[layer, low:high])
            output[span.rows].addmm_(inner.mul_(mask.values), second[layer, low:high])


@dataclass(frozen=True)
class _Mask:
    """Weights [rows, (last - first)·width] for inner results of `width` ranks a block."""

    width: int
    values: Tensor


@dataclass(frozen=True)
class _Span:
    """Rows that use blocks from `first` to `last` of the arena."""

    rows: slice
    first: int
    last: int
    masks: dict[str, _Mask]


def _span(arena: Arena, rows: slice, blends: Sequence[Blend], dtype: Any) -> _Span | None:
    uses = [arena.blocks_of(blend) for blend in blends]
    blocks = [block for use in uses for block, _ in use]
    if not blocks:
        return None
    first, last = min(blocks), max(blocks) + 1
    weights = torch.zeros(len(uses), last - first)
    for row, use in enumerate(uses):
        for block, weight in use:
            weights[row, block - first] = weight
    if len(uses) == 1 and rows.stop - rows.start != 1:
        weights = weights.expand(rows.stop - rows.start, -1)
    by_width = {
        width: weights.repeat_interleave(width, 1).to(dtype)
        for width in {RANKS * len(parts) for parts in arena.shape.projections.values()}
    }
    masks = {
        fused: _Mask(RANKS * len(parts), by_width[RANKS * len(parts)])
        for fused, parts in arena.shape.projections.items()
    }
    return _Span(rows, first, last, masks)
