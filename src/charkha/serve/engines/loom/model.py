"""The forward pass of Llama's family over a batch of requests at different places in their texts.

A step takes decoding rows (one token each) and pieces of prompts together. Everything but attention is computed over all
tokens at once; query, key and value are one product, gate and up another.

Batch invariance: in bfloat16 on a CPU a row's numbers do not depend on what else is in the batch, to the last bit. oneDNN
computes a row of a product alike for every count of rows from two on (so there are never fewer), and attention looks at
whole multiples of `cache.STRIDE` places. `tests/serve/engines/loom/test_model.py` holds it to that. In float32 rounding
does depend on the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from charkha.serve.engines.loom.architecture import Architecture
from charkha.serve.engines.loom.cache import STRIDE, KeyValueCache


@dataclass(frozen=True)
class Segment:
    """A piece of one request's text: its tokens stand from `start` to `end` in the batch, in `slot` from `position` on."""

    start: int
    end: int
    slot: int
    position: int


class LowRank(Protocol):
    """What is added to the fused linear layers for each row: see `adapters.Applied`."""

    def add(self, layer: int, fused: str, rows: Tensor, output: Tensor) -> None:
        """Add the rows' adapters' products to `output` in place."""
        ...


@dataclass(frozen=True)
class Batch:
    """A step's tokens: first `len(slots)` decoding rows, of the requests in `slots` at `positions`; then the segments.

    `tokens` int64 [T]; `positions` of all of them, int64 [T]; `wanted`: the rows whose logits are asked for, int64.
    """

    tokens: Tensor
    positions: Tensor
    slots: Sequence[int]
    segments: Sequence[Segment]
    wanted: Tensor
    low_rank: LowRank | None = None


class Linear:
    """x · Wᵀ (+ bias), with the weight laid out for oneDNN once, which reads it about 1.7 times as fast."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._bias = bias
        self._packs = weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, 16) if self._packs else weight

    def __call__(self, rows: Tensor, residual: Tensor | None = None) -> Tensor:
        """[T, in] → [T, out], plus `residual`. T is at least 2."""
        if not self._packs:
            output = functional.linear(rows, self._weight, self._bias)
            return output if residual is None else output + residual
        if residual is None:
            return torch.ops.mkldnn._linear_pointwise(rows, self._weight, self._bias, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(rows, residual, self._weight, self._bias, "add")


@dataclass(frozen=True)
class _Layer:
    """One block: its two norms, its linear layers by `Architecture.projections`, norms of query and key where it has any."""

    before_attention: Tensor
    before_inner: Tensor
    linears: dict[str, Linear]
    query_norm: Tensor | None = None
    key_norm: Tensor | None = None


class Model:
    """Weights and forward pass. `dtype` is that of weights, activations and cache; logits are float32."""

    def __init__(self, directory: Path, dtype: Any, context: int) -> None:
        """Read a Hugging Face directory. Raises Invalid for an architecture that is not known."""
        self.shape = shape = Architecture.of(directory)
        self.dtype = dtype
        weights = _Weights(directory, dtype)
        self._embedding = weights.take("model.embed_tokens.weight")
        self._layers = [_layer(weights, shape, number) for number in range(shape.layers)]
        self._norm = weights.take("model.norm.weight")
        self._head = Linear(self._embedding if shape.tied else weights.take("lm_head.weight"))
        self._cosines, self._sines = _rotations(shape, -(-context // STRIDE) * STRIDE, dtype)

    @torch.inference_mode()  # type: ignore[untyped-decorator]  # torch is not followed
    def step(self, batch: Batch, cache: KeyValueCache) -> tuple[Tensor, Tensor]:
        """Read the batch's tokens into the cache.

        Returns the logits after the wanted rows [wanted, vocabulary], float32, and the last hidden states [T, width].
        """
        rows, batch = len(batch.tokens), _at_least_two(batch)
        turn = _Turn(self.shape, batch, rows, cache, self._cosines[batch.positions], self._sines[batch.positions])
        stream = self._embedding[batch.tokens]
        for number, layer in enumerate(self._layers):
            stream = self._block(number, layer, stream, turn)
        hidden = self._normed(stream, self._norm)
        wanted = batch.wanted if len(batch.wanted) != 1 else batch.wanted.repeat(2)
        if not len(wanted):
            return torch.empty(0, self.shape.vocabulary), hidden
        return self._head(hidden[wanted])[: len(batch.wanted)].float(), hidden

    def _block(self, number: int, layer: _Layer, stream: Tensor, turn: "_Turn") -> Tensor:
        linears, add = layer.linears, turn.add
        rows = self._normed(stream, layer.before_attention)
        mixed = add(number, "qkv", rows, linears["qkv"](rows))
        rows = turn.attend(number, layer, mixed)
        stream = add(number, "out", rows, linears["out"](rows, stream))
        rows = self._normed(stream, layer.before_inner)
        gate, up = add(number, "gate_up", rows, linears["gate_up"](rows)).chunk(2, -1)
        rows = functional.silu(gate).mul_(up)
        return add(number, "down", rows, linears["down"](rows, stream))

    def _normed(self, rows: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(rows, (rows.shape[-1],), weight, self.shape.epsilon)


class _Turn:
    """What all layers of one step share: rotations, where keys and values go, which places each row may see."""

    def __init__(
        self, shape: Architecture, batch: Batch, rows: int, cache: KeyValueCache, cosines: Tensor, sines: Tensor
    ) -> None:
        """`rows` are the batch's own: a row that was added to make two is not written to the cache."""
        self._shape, self._batch, self._cache = shape, batch, cache
        self._cosines, self._sines = cosines[:, None], sines[:, None]
        self._decoding = len(batch.slots)
        slots = [*batch.slots, *(each.slot for each in batch.segments for _ in range(each.start, each.end))]
        self._places = (torch.tensor(slots) * cache.context + batch.positions)[:rows]
        self._rows = rows
        self._slots = _compact(batch.slots)
        positions = batch.positions[: self._decoding]
        self._length = _whole(int(positions.max()) + 1) if self._decoding else 0
        self._mask = _mask(positions[:, None, None, None], self._length, cosines.dtype)
        self._masks = [_segment_mask(each, cosines.dtype) for each in batch.segments]

    def add(self, layer: int, fused: str, rows: Tensor, output: Tensor) -> Tensor:
        """`output` with the adapters' share."""
        if self._batch.low_rank is not None:
            self._batch.low_rank.add(layer, fused, rows, output)
        return output

    def attend(self, number: int, layer: _Layer, mixed: Tensor) -> Tensor:
        """Attention of all rows: [T, queries + keys + values] → [T, queries]."""
        shape, cache, decoding = self._shape, self._cache, self._decoding
        heads = mixed.view(len(mixed), -1, shape.head)
        turning, values = heads[:, : shape.heads + shape.kv_heads], heads[:, shape.heads + shape.kv_heads :]
        if layer.query_norm is not None:
            turning = self._head_norms(layer, turning)
        turned = torch.addcmul(turning * self._cosines, turning.roll(shape.head // 2, -1), self._sines)
        queries, keys = turned[:, : shape.heads], turned[:, shape.heads :]
        cache.write(number, self._places, keys[: self._rows], values[: self._rows])
        output = torch.empty_like(queries)
        if decoding:
            past = cache.read(number, self._slots, self._length)
            output[:decoding] = _attention(queries[:decoding, :, None], *past, self._mask)[:, :, 0]
        for segment, mask in zip(self._batch.segments, self._masks, strict=True):
            past = cache.read(number, slice(segment.slot, segment.slot + 1), mask.shape[-1])
            asked = queries[segment.start : segment.end].transpose(0, 1)[None]
            output[segment.start : segment.end] = _attention(asked, *past, mask)[0].transpose(0, 1)
        return output.view(len(mixed), -1)

    def _head_norms(self, layer: _Layer, turning: Tensor) -> Tensor:
        size, epsilon = (self._shape.head,), self._shape.epsilon
        queries, keys = turning[:, : self._shape.heads], turning[:, self._shape.heads :]
        normed = (functional.rms_norm(queries, size, layer.query_norm, epsilon),)
        return torch.cat((*normed, functional.rms_norm(keys, size, layer.key_norm, epsilon)), 1)


def _attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attention of [n, heads, T, head] with the mask [n, 1, T, length] (or [1, 1, T, length]).

    The heads that share keys are rows of one product, so keys are read once. Their number is made even: the kernel takes
    rows in blocks of 32 or more, and a last block of one row would be summed in another order.
    """
    n, heads, rows, size = queries.shape
    folded = queries.reshape(n, keys.shape[1], -1, size)
    count = folded.shape[2]
    mask = mask.repeat(1, 1, count // rows, 1)
    if count % 2:
        folded, mask = torch.cat((folded, folded[:, :, -1:]), 2), torch.cat((mask, mask[:, :, -1:]), 2)
    found = functional.scaled_dot_product_attention(folded, keys, values, attn_mask=mask)
    return found[:, :, :count].reshape(n, heads, rows, size)


def _whole(length: int) -> int:
    return -(-length // STRIDE) * STRIDE


def _mask(positions: Tensor, length: int, dtype: Any) -> Tensor:
    """0 where a row at its position may look, minus infinity elsewhere."""
    seen = torch.arange(length) <= positions
    return torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, float("-inf"))


def _segment_mask(segment: Segment, dtype: Any) -> Tensor:
    end = segment.position + segment.end - segment.start
    return _mask(torch.arange(segment.position, end)[None, None, :, None], _whole(end), dtype)


def _compact(slots: Sequence[int]) -> "slice | Tensor":
    """Slots that follow one another as a view of the cache, others as an index that copies them."""
    first = slots[0] if slots else 0
    follows = list(slots) == list(range(first, first + len(slots)))
    return slice(first, first + len(slots)) if follows else torch.tensor(slots)


def _at_least_two(batch: Batch) -> Batch:
    """The batch, its only row twice if it has but one: products of a single row are summed in another order."""
    if len(batch.tokens) != 1:
        return batch
    slot = batch.slots[0] if batch.slots else batch.segments[0].slot
    twice = batch.tokens.repeat(2), batch.positions.repeat(2)
    return Batch(*twice, (slot, slot), (), batch.wanted, batch.low_rank)


def _layer(weights: "_Weights", shape: Architecture, number: int) -> _Layer:
    prefix = f"model.layers.{number}."
    attention, inner = f"{prefix}self_attn.", f"{prefix}mlp."
    homes = {"qkv": attention, "out": attention, "gate_up": inner, "down": inner}

    def linear(fused: str) -> Linear:
        names = [homes[fused] + each for each in shape.projections[fused]]
        weight = torch.cat([weights.take(f"{name}.weight") for name in names])
        biased = fused == "qkv" and shape.traits.qkv_bias
        return Linear(weight, torch.cat([weights.take(f"{name}.bias") for name in names]) if biased else None)

    norms = [f"{attention}{each}_norm.weight" for each in "qk"] if shape.traits.qk_norm else []
    return _Layer(
        weights.take(f"{prefix}input_layernorm.weight"),
        weights.take(f"{prefix}post_attention_layernorm.weight"),
        {fused: linear(fused) for fused in homes},
        *(weights.take(name) for name in norms),
    )


def _rotations(shape: Architecture, context: int, dtype: Any) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines [context, head]: x turned = x · cos + (x rolled by half a head) · sin."""
    frequencies = shape.theta ** -(torch.arange(0, shape.head, 2, dtype=torch.float32) / shape.head)
    angles = torch.outer(torch.arange(context, dtype=torch.float32), frequencies)
    sines = angles.sin()
    return angles.cos().repeat(1, 2).to(dtype), torch.cat((-sines, sines), 1).to(dtype)


class _Weights:
    """The tensors of a Hugging Face directory's safetensors files, read one at a time."""

    def __init__(self, directory: Path, dtype: Any) -> None:
        from safetensors import safe_open

        self._dtype = dtype
        self._files: list[Any] = [safe_open(path, framework="pt") for path in sorted(directory.glob("*.safetensors"))]
        self._homes = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118  (not a dictionary)

    def take(self, name: str) -> Tensor:
        return self._homes[name].get_tensor(name).to(self._dtype, copy=True)
