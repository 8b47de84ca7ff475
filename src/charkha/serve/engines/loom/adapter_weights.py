"""Adapter files as the arena takes them. For files that `charkha.kit.weights.gguf_check` has passed: nothing is checked here.

Query and key of Llama's architecture stand in llama.cpp's order in a GGUF (see `kit.weights.convert`); here they are put back.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from charkha.kit.weights.gguf_header import Tensor as Entry
from charkha.kit.weights.gguf_header import read_header
from charkha.serve.engines.loom.adapters import AdapterWeights
from charkha.serve.engines.loom.architecture import Architecture

_PROJECTIONS: Final = {
    "attn_q": "q_proj",
    "attn_k": "k_proj",
    "attn_v": "v_proj",
    "attn_output": "o_proj",
    "ffn_gate": "gate_proj",
    "ffn_up": "up_proj",
    "ffn_down": "down_proj",
}
_KINDS: Final = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def rank_of(path: Path) -> int:
    """The highest rank in an adapter file: what decides how much room it takes."""
    return max(tensor.shape[1] for name, tensor in read_header(path).tensors.items() if name.endswith(".lora_a"))


def read_adapter(path: Path, shape: Architecture, dtype: Any) -> AdapterWeights:
    """The adapter in a GGUF file, in `dtype`, with alpha / rank folded into B. Raises OSError if it cannot be read."""
    header = read_header(path)
    alpha = float(header.values["adapter.lora.alpha"])
    permuted = header.values["general.architecture"] == "llama"
    heads = {"q_proj": shape.heads, "k_proj": shape.kv_heads} if permuted else {}
    pairs = {}
    for name, entry in header.tensors.items():
        if not name.endswith(".lora_a"):
            continue
        _, layer, target, *_ = name.split(".")
        projection = _PROJECTIONS[target]
        first, second = _values(path, entry), _values(path, header.tensors[name[:-1] + "b"])
        if projection in heads:
            second = _unpermuted(second, heads[projection])
        scaled = np.ascontiguousarray(second.T) * np.float32(alpha / len(first))
        pairs[int(layer), projection] = torch.from_numpy(first).to(dtype), torch.from_numpy(scaled).to(dtype)
    return AdapterWeights(max(len(first) for first, _ in pairs.values()), pairs)


def _values(path: Path, entry: Entry) -> npt.NDArray[np.float32]:
    """A matrix [outer, inner] of the file as float32; ggml writes its shape the other way round."""
    inner, outer = entry.shape
    raw = np.fromfile(path, _KINDS[entry.kind], inner * outer, offset=entry.start).reshape(outer, inner)
    if entry.kind == "BF16":
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)


def _unpermuted(rows: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """The inverse of `kit.weights.convert.permute`."""
    size = rows.shape[0] // heads
    return rows.reshape(heads, size // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)
