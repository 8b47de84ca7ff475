"""PEFT adapters: hostile files are refused with a reason, good ones become what llama.cpp computes with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from charkha.core.errors import Invalid
from charkha.kit.weights.convert import Geometry, check_peft, permute, to_gguf
from charkha.kit.weights.gguf_check import BASE_HASH_KEY

GEOMETRY = Geometry("llama", heads=4, kv_heads=2)
NAME = "base_model.model.model.layers.{}.self_attn.{}.lora_{}.weight"


def tensors(rank: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"q_proj": 32, "k_proj": 16, "v_proj": 16}
    made = {}
    for projection, out in shapes.items():
        made[NAME.format(0, projection, "A")] = rng.normal(size=(rank, 8)).astype(np.float32)
        made[NAME.format(0, projection, "B")] = rng.normal(size=(out, rank)).astype(np.float32)
    return made


def write(directory: Path, values: dict[str, Any] | None = None, **config: Any) -> Path:
    save_file(tensors() if values is None else values, directory / "adapter.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "abc"} | config
    (directory / "adapter_config.json").write_text(json.dumps(settings))
    return directory


def test_a_good_adapter_is_read(tmp_path: Path) -> None:
    adapter = check_peft(write(tmp_path))
    assert (adapter.rank, adapter.alpha, adapter.base) == (2, 4.0, "abc")
    np.testing.assert_array_equal(adapter.pairs[(0, "k_proj")][1], tensors()[NAME.format(0, "k_proj", "B")])


def test_bfloat16_is_read_exactly(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    values = {name: torch.from_numpy(value).bfloat16() for name, value in tensors().items()}
    write(tmp_path)
    save_torch(values, tmp_path / "adapter.safetensors")
    name = NAME.format(0, "q_proj", "A")
    np.testing.assert_array_equal(check_peft(tmp_path).pairs[(0, "q_proj")][0], values[name].float().numpy())


@pytest.mark.parametrize(
    "config",
    [
        {"peft_type": "IA3"},
        {"r": 0},
        {"r": True},
        {"r": 3},
        {"r": "2"},
        {"lora_alpha": float("nan")},
        {"lora_alpha": -1},
        {"use_dora": True},
        {"use_rslora": True},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
    ],
)
def test_settings_that_cannot_be_served_are_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        check_peft(write(tmp_path, **config))
    assert refused.value.remedy


def broken(kind: str) -> dict[str, Any]:
    values = tensors()
    name = NAME.format(0, "q_proj", "A")
    if kind == "nan":
        values[name][0, 0] = np.nan
    elif kind == "unpaired":
        del values[name]
    elif kind == "unknown":
        values["model.embed_tokens.weight"] = np.zeros((2, 2), np.float32)
    elif kind == "dtype":
        values[name] = values[name].astype(np.int32)
    elif kind == "vector":
        values[name] = values[name][0]
    elif kind == "empty":
        values = {}
    return values


@pytest.mark.parametrize("kind", ["nan", "unpaired", "unknown", "dtype", "vector", "empty"])
def test_wrong_tensors_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(Invalid):
        check_peft(write(tmp_path, broken(kind)))


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = write(tmp_path_factory.mktemp("adapter"))
    (directory / "adapter.safetensors").write_bytes(content)
    with pytest.raises(Invalid):
        check_peft(directory)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 1 << 40]},
        {"dtype": "F32", "shape": [2, -8], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [2, 8], "data_offsets": [64, 0]},
        {"dtype": "F32", "shape": [2, 8]},
        [],
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, entry: Any) -> None:
    header = json.dumps({NAME.format(0, "q_proj", "A"): entry}).encode()
    write(tmp_path)
    (tmp_path / "adapter.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    with pytest.raises(Invalid):
        check_peft(tmp_path)


@given(st.sampled_from([1, 2, 3, 9]), st.sampled_from([2, 4, 8]))
def test_permutation_pairs_the_halves_of_each_head(heads: int, size: int) -> None:
    rows = np.arange(heads * size, dtype=np.float32)[:, None]
    permuted = permute(rows, heads)[:, 0].reshape(heads, size)
    for head in range(heads):
        first, second = head * size + np.arange(size // 2), head * size + size // 2 + np.arange(size // 2)
        assert permuted[head, 0::2].tolist() == first.tolist()
        assert permuted[head, 1::2].tolist() == second.tolist()


def test_the_gguf_holds_the_adapter_under_llama_cpps_names(tmp_path: Path) -> None:
    to_gguf(check_peft(write(tmp_path)), GEOMETRY, "ff" * 32, tmp_path / "adapter.gguf")
    reader = GGUFReader(tmp_path / "adapter.gguf")
    assert reader.fields["general.type"].contents() == "adapter"
    assert reader.fields["adapter.type"].contents() == "lora"
    assert reader.fields["adapter.lora.alpha"].contents() == 4.0
    assert reader.fields[BASE_HASH_KEY].contents() == "ff" * 32
    found = {tensor.name: np.asarray(tensor.data) for tensor in reader.tensors}
    assert set(found) == {f"blk.0.attn_{letter}.weight.lora_{half}" for letter in "qkv" for half in "ab"}
    wanted = permute(tensors()[NAME.format(0, "k_proj", "B")], GEOMETRY.kv_heads)
    np.testing.assert_array_equal(found["blk.0.attn_k.weight.lora_b"], wanted.astype(np.float16))


def test_heads_that_do_not_fit_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        to_gguf(check_peft(write(tmp_path)), Geometry("llama", 5, 5), "ff", tmp_path / "adapter.gguf")
    assert [path.name for path in tmp_path.glob("*gguf*")] == []


def test_an_architecture_of_unknown_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba", "num_attention_heads": 4}')
    with pytest.raises(Invalid, match="mamba"):
        Geometry.of(tmp_path)
