"""Keys and values of the tokens that requests have read: a slot for each request, given back to the system when it is idle.

Memory is claimed as it is touched: a slot costs what its longest request has used, until `forget` gives it back.
"""

import mmap
from typing import Any, Final

import torch
from torch import Tensor

from charkha.serve.engines.loom.architecture import Architecture

STRIDE: Final = 64
"""Attention always looks at a whole multiple of so many places: so its sums are made in one order, whatever the length."""


class KeyValueCache:
    """`slots` times `context` places (a multiple of STRIDE) in each layer; element type `dtype`."""

    def __init__(self, shape: Architecture, slots: int, context: int, dtype: Any) -> None:
        self.slots, self.context = slots, -(-context // STRIDE) * STRIDE
        self._layers = shape.layers
        self._place: int = shape.kv_heads * shape.head * dtype.itemsize
        size = (shape.layers, 2, slots, self.context, shape.kv_heads, shape.head)
        # Anonymous pages that nothing has touched cost nothing, and read as zeros.
        size_bytes = 2 * shape.layers * slots * self.context * self._place
        self._memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._all: Tensor = torch.frombuffer(self._memory, dtype=dtype).view(size)
        self._flat = self._all.view(shape.layers, 2, slots * self.context, shape.kv_heads, shape.head)

    @property
    def bytes_per_token(self) -> int:
        """What one token costs."""
        return 2 * self._layers * self._place

    def write(self, layer: int, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store keys and values [T, kv_heads, head] at `places` [T] = slot x context + position."""
        self._flat[layer, 0].index_copy_(0, places, keys)
        self._flat[layer, 1].index_copy_(0, places, values)

    def read(self, layer: int, slots: "slice | Tensor", length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first `length` places of slots, each [slots, kv_heads, length, head]."""
        keys, values = self._all[layer, 0, slots, :length], self._all[layer, 1, slots, :length]
        return keys.transpose(1, 2), values.transpose(1, 2)

    def copy(self, source: int, target: int, length: int) -> None:
        """Give slot `target` the first `length` places of `source`."""
        self._all[:, :, target, :length] = self._all[:, :, source, :length]

    def forget(self, slot: int) -> None:
        """Give a slot's memory back to the system; it reads as zeros afterwards."""
        size, page = self.context * self._place, mmap.PAGESIZE
        for row in range(2 * self._layers):
            start = (row * self.slots + slot) * size
            first, last = -(-start // page) * page, (start + size) // page * page
            if last > first:
                self._memory.madvise(mmap.MADV_DONTNEED, first, last - first)
