"""Whether a GGUF file may be given to llama.cpp: an adapter for a certain base model, or a model.

Boundary: files of unknown origin stay outside until `check_adapter` has passed them. Nothing here calls native code but
numpy's finiteness test. `python -m charkha.kit.weights.gguf_check BASE FILE…` is the capped child process that
`charkha.serve.engines.adapter_files` starts: it bounds its own memory and time, then prints one JSON line per file.
"""

import json
import math
import re
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from charkha.kit.weights.gguf_header import Header, Tensor, read_header, refuse

MAX_ADAPTER_BYTES: Final = 512 << 20
MAX_RANK: Final = 256
MAX_ALPHA: Final = 65_536.0
# The key under which the base model's hash may stand in an adapter, as charkha.kit.weights.convert writes it.
BASE_HASH_KEY: Final = "charkha.base_hash"

_MEMORY: Final = 3 << 30
_SECONDS_PER_FILE: Final = 20
_ADAPTER_KEYS: Final = re.compile(r"general\.[a-z0-9_.]+|charkha\.[a-z0-9_.]+|adapter\.(type|lora\.alpha)")
_PART: Final = re.compile(r"(blk\.\d{1,4}\.[a-z0-9_]+\.weight)\.lora_(a|b)")
_FLOATS: Final = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class WrongBase(ValueError):
    """The adapter is sound but was made for another base model."""


@dataclass(frozen=True)
class AdapterInfo:
    """A sound adapter: its rank (the largest over its tensors), scale numerator alpha, and count of adapted weights."""

    architecture: str
    rank: int
    alpha: float
    targets: int
    bytes: int


@dataclass(frozen=True)
class ModelInfo:
    """A sound model: `shapes` maps its tensors' names to their shapes in ggml's order."""

    architecture: str
    name: str
    layers: int
    context: int
    vocabulary: int
    shapes: dict[str, tuple[int, ...]]


def check_model(path: Path) -> ModelInfo:
    """Read what a model file says of itself. Raises ValueError with the reason if it is not a sound model."""
    header = read_header(path)
    architecture = _text(header, "general.architecture")
    if _text(header, "general.type", "model") != "model":
        refuse("it is not a model")
    return ModelInfo(
        architecture,
        _text(header, "general.name", path.stem),
        _count(header, f"{architecture}.block_count"),
        _count(header, f"{architecture}.context_length"),
        len(header.values.get("tokenizer.ggml.tokens", ())),
        {name: tensor.shape for name, tensor in header.tensors.items()},
    )


def check_adapter(path: Path, base_path: Path, base_hash: str | None = None) -> AdapterInfo:
    """Check an adapter against the model that it is to be put on.

    `base_hash` is the SHA-256 by which the model is known, if the adapter may carry one. Raises WrongBase for an
    adapter of another model and ValueError for any other reason to refuse it.
    """
    return _check_adapter(path, check_model(base_path), base_hash)


def _check_adapter(path: Path, base: ModelInfo, base_hash: str | None) -> AdapterInfo:
    size = path.stat().st_size
    if size > MAX_ADAPTER_BYTES:
        refuse(f"it has {size} bytes; at most {MAX_ADAPTER_BYTES} are allowed")
    header = read_header(path)
    alpha = _check_values(header)
    _check_base(header, base, base_hash)
    ranks = _check_pairs(header, base)
    _check_finite(path, header)
    return AdapterInfo(base.architecture, max(ranks), alpha, len(ranks), size)


def _check_values(header: Header) -> float:
    for key, value in header.values.items():
        if not _ADAPTER_KEYS.fullmatch(key):
            refuse(f"it has the key '{key}', which an adapter may not have")
        if isinstance(value, tuple) and len(value) > 1024:
            refuse(f"its key '{key}' holds {len(value)} values")
    if _text(header, "general.type") != "adapter" or _text(header, "adapter.type") != "lora":
        refuse("it is not a LoRA adapter (general.type must be 'adapter' and adapter.type 'lora')")
    alpha: Any = header.values.get("adapter.lora.alpha")
    if "adapter.lora.alpha" not in header.float_keys or not math.isfinite(alpha) or not 0 < alpha <= MAX_ALPHA:
        refuse(f"its adapter.lora.alpha must be a 32-bit float above 0 and at most {MAX_ALPHA:g}")
    return float(alpha)


def _check_base(header: Header, base: ModelInfo, base_hash: str | None) -> None:
    architecture = _text(header, "general.architecture")
    if architecture != base.architecture:
        raise WrongBase(f"it is for the architecture '{architecture}', not '{base.architecture}'")
    claimed = header.values.get(BASE_HASH_KEY)
    if claimed is not None and base_hash is not None and claimed != base_hash:
        raise WrongBase(f"it was trained on the model {str(claimed)[:12]}…, not on {base_hash[:12]}…")


def _check_pairs(header: Header, base: ModelInfo) -> list[int]:
    parts: dict[str, dict[str, Tensor]] = {}
    for tensor in header.tensors.values():
        named = _PART.fullmatch(tensor.name) or refuse(f"its tensor '{tensor.name}' is no part of a LoRA adapter")
        if tensor.kind not in _FLOATS:
            refuse(f"its tensor '{tensor.name}' is {tensor.kind}; use F16, BF16 or F32")
        parts.setdefault(named[1], {})[named[2]] = tensor
    return [_check_pair(target, pair, base) for target, pair in parts.items()]


def _check_pair(target: str, pair: dict[str, Tensor], base: ModelInfo) -> int:
    if len(pair) != 2:
        refuse(f"it has only half of the pair for '{target}'")
    shape = base.shapes.get(target)
    if shape is None or len(shape) != 2:
        raise WrongBase(f"it adapts '{target}', which the base model does not have")
    first, second = pair["a"].shape, pair["b"].shape
    if len(first) != 2 or len(second) != 2 or first[1] != second[0]:
        refuse(f"the shapes {first} and {second} for '{target}' are not a pair")
    if (first[0], second[1]) != shape:
        raise WrongBase(f"its pair for '{target}' fits {(first[0], second[1])}, but the base model has {shape}")
    if not 1 <= first[1] <= MAX_RANK:
        refuse(f"its rank for '{target}' is {first[1]}; at most {MAX_RANK} is allowed")
    return first[1]


def _check_finite(path: Path, header: Header) -> None:
    import numpy as np

    for tensor in header.tensors.values():
        count = math.prod(tensor.shape)
        values = np.memmap(path, dtype=_FLOATS[tensor.kind], mode="r", offset=tensor.start, shape=(count,))
        # A bfloat16 is the upper half of a float32: it is not finite when all bits of its exponent are set.
        finite = (values & 0x7F80) != 0x7F80 if tensor.kind == "BF16" else np.isfinite(values)
        if not bool(finite.all()):
            refuse(f"its tensor '{tensor.name}' holds values that are not finite")


def _text(header: Header, key: str, default: str | None = None) -> str:
    value = header.values.get(key, default)
    return value if isinstance(value, str) else refuse(f"it does not say its {key}")


def _count(header: Header, key: str) -> int:
    value = header.values.get(key)
    return value if isinstance(value, int) and value > 0 else refuse(f"it does not say its {key}")


def _cap(files: int) -> None:
    """Bound this process: a header that gets past the checks may cost it its life, never the machine's memory."""
    seconds = _SECONDS_PER_FILE + files
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _verdict(path: Path, base: ModelInfo, base_hash: str | None) -> dict[str, Any]:
    try:
        return {"file": str(path), "ok": True, **asdict(_check_adapter(path, base, base_hash))}
    except ValueError as error:
        return {"file": str(path), "ok": False, "reason": str(error), "wrong_base": isinstance(error, WrongBase)}


def main(arguments: list[str]) -> int:
    """`BASE [--base-hash HEX] FILE…`: print a verdict per file. Exit status 0 when all passed, 1 when not, 2 for misuse."""
    if len(arguments) < 2:
        sys.stderr.write("usage: gguf_check BASE [--base-hash HEX] FILE...\n")
        return 2
    base_path, *files = arguments
    base_hash = files[1] if files[0] == "--base-hash" else None
    files = files[2:] if base_hash else files
    _cap(len(files))
    base = check_model(Path(base_path))
    verdicts = [_verdict(Path(file), base, base_hash) for file in files]
    for verdict in verdicts:
        sys.stdout.write(json.dumps(verdict) + "\n")
    return 0 if all(verdict["ok"] for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
