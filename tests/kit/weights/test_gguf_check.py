"""Files of unknown origin: sound ones pass, every other is refused with a reason and in bounded time."""

import json
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from charkha.kit.weights import gguf_check
from charkha.kit.weights.gguf_check import MAX_RANK, AdapterInfo, ModelInfo, WrongBase, check_adapter, check_model
from charkha.kit.weights.gguf_header import read_header
from charkha.serve.engines.models import find_model
from charkha.testing.tiny import make_tiny_adapter, make_tiny_gguf


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("base")
    return make_tiny_gguf(directory / "tiny.gguf", find_model(None, directory).path)


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    return make_tiny_adapter(base.with_name("adapter.gguf"), base, rank=3)


def written(path: Path, tensors: dict[str, np.ndarray], **values: object) -> Path:
    """An adapter file of these tensors; `values` replace what a sound one says of itself."""
    said = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 8.0} | values
    writer = GGUFWriter(path, str(said.pop("architecture", "llama")))
    for key, value in said.items():
        if isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_string(key, str(value))
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def pair(
    rank: int = 2, inputs: int = 64, outputs: int = 64, name: str = "blk.0.attn_q.weight"
) -> dict[str, np.ndarray]:
    shapes = {"lora_a": (rank, inputs), "lora_b": (outputs, rank)}
    return {f"{name}.{part}": np.ones(shape, np.float32) for part, shape in shapes.items()}


def test_a_sound_adapter_is_described(adapter: Path, base: Path) -> None:
    info = check_adapter(adapter, base)
    assert (info.architecture, info.rank, info.alpha, info.targets) == ("llama", 3, 3.0, 14)


def test_a_model_is_described(base: Path) -> None:
    info = check_model(base)
    assert (info.layers, info.context, info.vocabulary) == (2, 2048, 49152)
    assert info.shapes["blk.1.ffn_down.weight"] == (128, 64)


@pytest.mark.parametrize(
    ("tensors", "values", "reason"),
    [
        (pair(inputs=63), {}, "fits"),
        (pair(name="blk.9.attn_q.weight"), {}, "does not have"),
        (pair(), {"architecture": "gpt2"}, "architecture"),
        (pair(), {"charkha.base_hash": "f" * 64}, "trained on"),
    ],
)
def test_an_adapter_of_another_base_is_told_apart(
    tmp_path: Path, base: Path, tensors: dict[str, np.ndarray], values: dict[str, object], reason: str
) -> None:
    with pytest.raises(WrongBase, match=reason):
        check_adapter(written(tmp_path / "a.gguf", tensors, **values), base, "0" * 64)


@pytest.mark.parametrize(
    ("tensors", "values", "reason"),
    [
        (pair(rank=MAX_RANK + 1), {}, "rank"),
        ({name: array for name, array in pair().items() if name.endswith("a")}, {}, "half of the pair"),
        ({name: array * np.nan for name, array in pair().items()}, {}, "not finite"),
        ({name: array * np.inf for name, array in pair().items()}, {}, "not finite"),
        ({name: array.astype(np.float64) for name, array in pair().items()}, {}, "unknown type"),
        ({"other.weight": np.ones((2, 2), np.float32)}, {}, "no part of a LoRA"),
        (pair(), {"general.type": "model"}, "not a LoRA adapter"),
        (pair(), {"adapter.lora.alpha": float("nan")}, "alpha"),
        (pair(), {"adapter.lora.alpha": "8"}, "alpha"),
        (pair(), {"adapter.alora.invocation_tokens": "x"}, "may not have"),
        (pair(), {"tokenizer.chat_template": "x"}, "may not have"),
    ],
)
def test_an_unsound_adapter_is_refused(
    tmp_path: Path, base: Path, tensors: dict[str, np.ndarray], values: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        check_adapter(written(tmp_path / "a.gguf", tensors, **values), base)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "too few"),
        (b"GGML" + bytes(40), "first four bytes"),
        (b"GGUF" + struct.pack("<IQQ", 1, 1, 0) + bytes(20), "version"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0) + bytes(20), "claims"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1 << 60) + bytes(20), "claims"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1 << 62) + bytes(20), "text of"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 1, 1, 1, b"k", 99) + bytes(20), "unknown type"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 1, 1, 1, b"k", 9, 0, 1 << 61) + bytes(20), "array of"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 1, 1, 1, b"k", 9, 9, 1) + bytes(20), "nests"),
        (b"GGUF" + struct.pack("<IQQQ1sIQQ", 3, 1, 0, 1, b"t", 2, 1 << 40, 1 << 40) + bytes(20), "impossible shape"),
    ],
)
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, head: bytes, reason: str) -> None:
    file = tmp_path / "bomb.gguf"
    file.write_bytes(head)
    with pytest.raises(ValueError, match=reason):
        read_header(file)


def test_every_mutation_is_refused_with_a_reason_or_harmless(tmp_path: Path, adapter: Path, base: Path) -> None:
    content, draw, file = adapter.read_bytes(), random.Random(3), tmp_path / "mutated.gguf"
    model, reasons = check_model(base), []
    for _ in range(400):
        file.write_bytes(mutated(content, draw))
        try:
            assert 1 <= check_against(file, model).rank <= MAX_RANK
        except ValueError as error:
            reasons.append(str(error))
    assert all(reasons)
    assert len(reasons) > 200


def check_against(file: Path, model: ModelInfo) -> AdapterInfo:
    return gguf_check._check_adapter(file, model, None)  # the base is read once: 400 times would take a minute


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Cut, extended, with a number of the header made huge, or with bits flipped in the header."""
    kind, changed = draw.randrange(4), bytearray(content)
    if kind == 0:
        return content[: draw.randrange(len(content))]
    if kind == 1:
        return content + bytes(draw.randrange(1, 100))
    for _ in range(draw.randrange(1, 4)):
        place = draw.randrange(1800)
        if kind == 2:
            changed[place : place + 8] = draw.choice([b"\xff" * 8, b"\x00" * 8, struct.pack("<Q", 1 << 40)])
        else:
            changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


def test_the_capped_process_gives_a_verdict_per_file(tmp_path: Path, adapter: Path, base: Path) -> None:
    short = tmp_path / "short.gguf"
    short.write_bytes(adapter.read_bytes()[:500])
    command = [sys.executable, "-m", "charkha.kit.weights.gguf_check", base, adapter, short]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    first, second = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    assert (first["ok"], first["rank"]) == (True, 3)
    assert (second["ok"], second["wrong_base"]) == (False, False)
    assert "cut short" in second["reason"]
