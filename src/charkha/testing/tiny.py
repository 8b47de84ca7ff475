"""Miniature models and adapters: random weights in real formats, so that tests run the real engine in milliseconds.

What they answer is nonsense, but it is deterministic, differs between adapters, and takes the same path as a real model:
the same architecture (Llama), the same tokenizer and chat template.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charkha.kit.weights.gguf_check import BASE_HASH_KEY, check_model
from charkha.kit.weights.gguf_header import read_header

_COPIED = ("tokenizer.", "general.languages", "general.license")


def make_tiny_gguf(
    path: Path, base_gguf: Path, seed: int = 0, *, layers: int = 2, width: int = 64, heads: int = 4, context: int = 2048
) -> Path:
    """Write a random Llama model in F16 with the tokenizer and chat template of `base_gguf`; returns `path`.

    `width` is the embedding's, shared by `heads` attention heads in pairs on one key-value head; the file is about
    `width` x vocabulary x 2 bytes (6 MB for 64 and SmolLM2's 49,152 tokens). Equal arguments give equal bytes.
    """
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads // 2)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    copied = read_header(base_gguf).values
    _copy_tokenizer(writer, copied)
    vocabulary = len(copied["tokenizer.ggml.tokens"])
    for name, values in _weights(np.random.default_rng(seed), layers, width, heads, vocabulary):
        writer.add_tensor(name, values)
    return _written(writer, path)


def make_tiny_adapter(
    path: Path, gguf_model: Path, seed: int = 0, scale: float = 1.0, *, rank: int = 4, base_hash: str | None = None
) -> Path:
    """Write a random LoRA adapter (F16) on every linear weight of the layers of `gguf_model`; returns `path`.

    `scale` is about how large its change of a weight's output is beside a random weight's own output.
    """
    from gguf import GGUFWriter

    draw = np.random.default_rng(seed)
    model = check_model(gguf_model)
    writer = GGUFWriter(path, model.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    if base_hash:
        writer.add_string(BASE_HASH_KEY, base_hash)
    for name, shape in model.shapes.items():
        if name.startswith("blk.") and len(shape) == 2:
            inputs, outputs = shape
            lora_a = draw.standard_normal((rank, inputs)) / np.sqrt(inputs)
            lora_b = draw.standard_normal((outputs, rank)) * scale / np.sqrt(rank)
            writer.add_tensor(f"{name}.lora_a", lora_a.astype(np.float16))
            writer.add_tensor(f"{name}.lora_b", lora_b.astype(np.float16))
    return _written(writer, path)


def _copy_tokenizer(writer: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if not key.startswith(_COPIED):
            continue
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case str():
                writer.add_string(key, value)
            case _:
                writer.add_array(key, value)


def _weights(
    draw: np.random.Generator, layers: int, width: int, heads: int, vocabulary: int
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Every tensor of the model as [outputs, inputs]; the scale keeps activations at about one."""
    keys = width // 2 if heads > 1 else width
    linears = {
        "attn_q": (width, width),
        "attn_k": (keys, width),
        "attn_v": (keys, width),
        "attn_output": (width, width),
        "ffn_gate": (2 * width, width),
        "ffn_up": (2 * width, width),
        "ffn_down": (width, 2 * width),
    }
    yield "token_embd.weight", draw.standard_normal((vocabulary, width)).astype(np.float16)
    yield "output.weight", draw.standard_normal((vocabulary, width)).astype(np.float16)
    yield "output_norm.weight", np.ones(width, np.float32)
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", np.ones(width, np.float32)
        for name, (outputs, inputs) in linears.items():
            values = draw.standard_normal((outputs, inputs)) / np.sqrt(inputs)
            yield f"blk.{layer}.{name}.weight", values.astype(np.float16)


def _written(writer: Any, path: Path) -> Path:
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return path
