"""A GGUF model as the Hugging Face directory that torch reads: made once, named by the GGUF's hash, checked on each use.

This is the only place that turns one form of a *model* into the other; adapters are in `convert`. Weights are stored in
bfloat16 safetensors with the tokenizer and its chat template. Nothing in the directory names code (`auto_map`).
"""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

from charkha.core.errors import Invalid
from charkha.kit.weights.files import locked, new_directory, sha256_of, sweep

Precision = Literal["auto", "bfloat16", "float32"]

_MANIFEST = "manifest.json"
_MAGIC = b"GGUF"
_SPARE = 32 << 20  # bytes for the tokenizer and what others write meanwhile


def hf_directory(gguf: Path, models_dir: Path) -> Path:
    """`models_dir`/<sha256 of the GGUF>/, made if it is not there or was damaged. Safe to call from several processes.

    Takes about 20 s and 1.5 GB the first time for 135 M parameters, and half a second (the hashing) after that.
    Raises Invalid if the file is no GGUF model that can be read, and OSError (ENOSPC) if the disk has no room.
    """
    _check_magic(gguf)
    target = models_dir / sha256_of(gguf)
    if intact(target):
        return target
    with locked(models_dir / f".{target.name}.lock"):
        if not intact(target):  # nobody else has made it while we waited
            sweep(models_dir, target.name)
            shutil.rmtree(target, ignore_errors=True)
            with new_directory(target) as temporary:
                _convert(gguf, temporary)
                _write_manifest(temporary)
    return target


def intact(directory: Path) -> bool:
    """Whether every file that the manifest names is there with its hash."""
    try:
        manifest: dict[str, str] = json.loads((directory / _MANIFEST).read_text())
        return bool(manifest) and all(sha256_of(directory / name) == digest for name, digest in manifest.items())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer of a directory made by `hf_directory`."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory, local_files_only=True)


def load_model(directory: Path, precision: Precision) -> Any:
    """The causal language model of a directory, frozen, in `precision`; "auto" takes what this processor is fastest in."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    dtype = fastest_dtype() if precision == "auto" else getattr(torch, precision)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, local_files_only=True)
    return model.requires_grad_(False).eval()


def fastest_dtype() -> Any:
    """torch.bfloat16 or torch.float32, whichever multiplies matrices faster here.

    With AMX bfloat16 is about three times faster; on a processor without it float32 is nearly twice as fast. Only
    trying tells: virtual machines hide what they have. Takes about 0.1 s.
    """
    import time

    import torch

    def seconds(dtype: Any) -> float:
        rows, weight = torch.ones(512, 576, dtype=dtype), torch.ones(1536, 576, dtype=dtype)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            torch.nn.functional.linear(rows, weight)
            times.append(time.perf_counter() - start)
        return min(times)  # others may be running: the least disturbed try is the truest

    return min((torch.bfloat16, torch.float32), key=seconds)


def _check_magic(gguf: Path) -> None:
    try:
        with gguf.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise Invalid(
            f"The model file {gguf} cannot be read: {error.strerror}.", remedy="Give a readable file."
        ) from error
    if magic != _MAGIC:
        raise Invalid(f"{gguf} is not a GGUF file.", remedy="Give a model in GGUF form.")


def _convert(gguf: Path, directory: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**source)
        model = AutoModelForCausalLM.from_pretrained(
            **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
    except (ValueError, KeyError, IndexError) as error:
        raise Invalid(f"{gguf} cannot be converted: {error}.", remedy="Use a model of a known architecture.") from error
    _check_space(directory, 2 * model.num_parameters())
    model.to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    for name in ("config.json", "tokenizer_config.json"):
        _strip_code(directory / name)


def _check_space(directory: Path, size: int) -> None:
    """Raise the error that a full disk brings, before a writer that hides it starts to write."""
    if shutil.disk_usage(directory).free < size + _SPARE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


def _strip_code(config: Path) -> None:
    """Remove what could make a reader of the directory import code or take the weights for quantised ones."""
    values = json.loads(config.read_text())
    for key in ("auto_map", "quantization_config", "_pre_quantization_dtype", "_name_or_path", "_model_name_or_path"):
        values.pop(key, None)
    config.write_text(json.dumps(values, indent=2))


def _write_manifest(directory: Path) -> None:
    manifest = {path.name: sha256_of(path) for path in sorted(directory.iterdir())}
    (directory / _MANIFEST).write_text(json.dumps(manifest, indent=2))
