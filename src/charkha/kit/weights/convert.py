"""PEFT adapters checked, and turned into the GGUF adapters that llama.cpp serves. Pure numpy; no torch.

An adapter file may come from anybody: `check_peft` reads the safetensors header itself, within bounds, before any of the
file is used. The conversion follows llama.cpp's convert_lora_to_gguf: for Llama's architecture the rows of the query and
key projections change places, because llama.cpp rotates neighbouring pairs where Hugging Face rotates halves.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from charkha.core.errors import Invalid
from charkha.kit.weights.files import new_file
from charkha.kit.weights.gguf_check import BASE_HASH_KEY

_MAX_FILE: Final = 1 << 30
_MAX_HEADER: Final = 8 << 20
_MAX_CONFIG: Final = 64 << 10
_MAX_RANK: Final = 512
_DTYPES: Final[dict[str, np.dtype[Any]]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
_NAME: Final = re.compile(
    r"base_model\.model\.model\.layers\.(\d{1,4})\.(?:self_attn|mlp)\.(\w+_proj)\.lora_([AB])\.weight"
)
_TENSORS: Final = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}
_ARCHITECTURES: Final = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_PERMUTED: Final = {"llama"}

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PeftAdapter:
    """A checked adapter: (layer, projection) → A [rank, in] and B [out, rank], float32, all finite."""

    rank: int
    alpha: float
    base: str
    pairs: Mapping[tuple[int, str], tuple[Array, Array]]


@dataclass(frozen=True)
class Geometry:
    """What the conversion must know of the base model."""

    architecture: str
    heads: int
    kv_heads: int

    @classmethod
    def of(cls, model_directory: Path) -> "Geometry":
        """Read it from a Hugging Face directory. Raises Invalid for an architecture whose layout is not known here."""
        config = json.loads((model_directory / "config.json").read_text())
        kind = config["model_type"]
        if kind not in _ARCHITECTURES:
            raise Invalid(
                f"Adapters for models of type '{kind}' cannot be converted.",
                remedy=f"Use one of: {', '.join(_ARCHITECTURES)}.",
            )
        heads = config["num_attention_heads"]
        return cls(_ARCHITECTURES[kind], heads, config.get("num_key_value_heads") or heads)


def check_peft(directory: Path) -> PeftAdapter:
    """Read a PEFT adapter (adapter_config.json with adapter.safetensors or adapter_model.safetensors), trusting nothing.

    Raises Invalid that says what is wrong with it: sizes, names, shapes, ranks, values that are not finite.
    """
    config = _config(directory / "adapter_config.json")
    rank, alpha = config["r"], float(config["lora_alpha"])
    tensors = _read_safetensors(weights_file(directory))
    pairs = _pairs(tensors, rank)
    return PeftAdapter(rank, alpha, str(config.get("base_model_name_or_path") or ""), pairs)


def weights_file(directory: Path) -> Path:
    """The file of an adapter's tensors, under our name or PEFT's. Raises Invalid if there is none."""
    files = (directory / name for name in ("adapter.safetensors", "adapter_model.safetensors"))
    found = next((file for file in files if file.is_file()), None)
    return found or _refuse("it has no adapter.safetensors")


def to_gguf(adapter: PeftAdapter, geometry: Geometry, base_hash: str, target: Path) -> None:
    """Write the adapter as a GGUF adapter (float16) for the model whose GGUF has the SHA-256 `base_hash`.

    Raises Invalid if a tensor does not fit the model's heads or float16, and OSError if the disk does.
    """
    from gguf import GGUFWriter

    with new_file(target) as temporary:
        writer = GGUFWriter(temporary, geometry.architecture)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", adapter.alpha)
        writer.add_string(BASE_HASH_KEY, base_hash)
        for (layer, projection), (lora_a, lora_b) in sorted(adapter.pairs.items()):
            name = f"blk.{layer}.{_TENSORS[projection]}.weight"
            heads = {"q_proj": geometry.heads, "k_proj": geometry.kv_heads}.get(projection)
            if heads and geometry.architecture in _PERMUTED:
                lora_b = permute(lora_b, heads)
            writer.add_tensor(f"{name}.lora_a", _half(name, lora_a))
            writer.add_tensor(f"{name}.lora_b", _half(name, lora_b))
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


def permute(rows: Array, heads: int) -> Array:
    """Reorder the rows of a query or key projection, [heads x size, n], from Hugging Face's order to llama.cpp's."""
    if rows.shape[0] % (2 * heads):
        _refuse(f"{rows.shape[0]} rows are not {heads} attention heads")
    size = rows.shape[0] // heads
    return rows.reshape(heads, 2, size // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def _half(name: str, values: Array) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(values.astype(np.float16))
    if not np.isfinite(half).all():
        _refuse(f"the values of {name} are too large for float16")
    return half


def _config(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_CONFIG:
            _refuse("its adapter_config.json is too large")
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        _refuse(f"its adapter_config.json cannot be read ({error})")
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        _refuse("it is not a LoRA adapter")
    for key in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out"):
        if config.get(key):
            _refuse(f"it uses {key}, which cannot be served")
    if config.get("bias", "none") != "none":
        _refuse("it trains biases, which cannot be served")
    rank: Any = config.get("r")
    alpha: Any = config.get("lora_alpha")
    if type(rank) is not int or not 1 <= rank <= _MAX_RANK:
        _refuse(f"its rank must be a whole number from 1 to {_MAX_RANK}")
    if type(alpha) not in (int, float) or not math.isfinite(alpha) or alpha <= 0:
        _refuse("its lora_alpha must be a positive number")
    return config


def _read_safetensors(file: Path) -> dict[str, Array]:
    size = file.stat().st_size
    if not 8 < size <= _MAX_FILE:
        _refuse(f"its weights must have from 9 to {_MAX_FILE} bytes, not {size}")
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(_MAX_HEADER, size - 8):
            _refuse("the header of its weights is longer than the file or the limit")
        header = _header(stream.read(length))
    body = np.memmap(file, dtype=np.uint8, mode="r", offset=8 + length) if size > 8 + length else np.zeros(0, np.uint8)
    return {name: _tensor(name, entry, body) for name, entry in header.items() if name != "__metadata__"}


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        _refuse("the header of its weights is not JSON")
    if not isinstance(header, dict):
        _refuse("the header of its weights is not an object")
    return header


def _tensor(name: str, entry: Any, body: npt.NDArray[np.uint8]) -> Array:
    """One tensor of the file as float32. Shape and offsets must agree and lie inside the file."""
    try:
        dtype, (rows, columns), (start, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        _refuse(f"its tensor {name[:120]} is not a matrix of floats")
    if not all(type(number) is int for number in (rows, columns, start, end)) or min(rows, columns) < 1:
        _refuse(f"its tensor {name[:120]} has an impossible shape")
    if not 0 <= start <= end <= len(body) or end - start != rows * columns * dtype.itemsize:
        _refuse(f"its tensor {name[:120]} lies outside the file")
    raw = np.frombuffer(body[start:end].tobytes(), dtype).reshape(rows, columns)
    values: Array = (raw.astype(np.uint32) << 16).view(np.float32) if dtype == np.uint16 else raw.astype(np.float32)
    if not np.isfinite(values).all():
        _refuse(f"its tensor {name[:120]} has values that are not finite")
    return values


def _pairs(tensors: dict[str, Array], rank: int) -> dict[tuple[int, str], tuple[Array, Array]]:
    halves: dict[tuple[int, str], dict[str, Array]] = {}
    for name, values in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None or match[2] not in _TENSORS:
            _refuse(f"it has a tensor of an unknown name: {name[:120]}")
        halves.setdefault((int(match[1]), match[2]), {})[match[3]] = values
    if not halves:
        _refuse("it has no tensors")
    for (layer, projection), half in halves.items():
        if set(half) != {"A", "B"} or half["A"].shape[0] != rank or half["B"].shape[1] != rank:
            _refuse(f"A and B of layer {layer} {projection} are not both there with rank {rank}")
    return {key: (half["A"], half["B"]) for key, half in halves.items()}


def _refuse(reason: str) -> NoReturn:
    raise Invalid(f"The adapter is refused: {reason}.", remedy="Give a plain LoRA adapter in PEFT's form.")
