"""The model file is found, known by its hash, and converted once."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, quants

from charkha.kit.weights.gguf_check import check_model
from charkha.serve.engines.models import ModelFile, find_model, requantise, served_form
from charkha.testing.tiny import make_tiny_gguf


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    return make_tiny_gguf(directory / "tiny.gguf", find_model(None, directory).path)


def test_the_packaged_model_is_found_and_its_hash_remembered(tmp_path: Path) -> None:
    model = find_model(None, tmp_path)
    assert check_model(model.path).vocabulary == 49152
    note = next(tmp_path.iterdir())
    note.write_bytes(note.read_bytes().replace(model.sha256.encode(), b"remembered"))
    assert find_model(None, tmp_path).sha256 == "remembered"


def test_a_file_that_changes_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    for content in (b"one", b"two"):
        file.write_bytes(content)
        os.utime(file, ns=(0, len(content) + content[0]))
        assert find_model(file, tmp_path).sha256 == hashlib.sha256(content).hexdigest()


def test_a_missing_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Give the path"):
        find_model(tmp_path / "none.gguf", tmp_path)


def test_conversion_keeps_the_model_and_happens_once(tiny: Path, tmp_path: Path) -> None:
    target = served_form(ModelFile(tiny, "abc"), tmp_path / "models")
    requantise(tiny, target)
    stamp = target.stat().st_mtime_ns
    requantise(tiny, target)
    assert target.stat().st_mtime_ns == stamp
    assert check_model(target).shapes == check_model(tiny).shapes
    before, after = (tensors(file)["blk.0.attn_q.weight"] for file in (tiny, target))
    assert np.abs(before - after).max() < 0.02
    assert sorted(path.suffix for path in target.parent.iterdir()) == [".gguf", ".lock"]


def tensors(file: Path) -> dict[str, np.ndarray]:
    return {tensor.name: quants.dequantize(tensor.data, tensor.tensor_type) for tensor in GGUFReader(file).tensors}
