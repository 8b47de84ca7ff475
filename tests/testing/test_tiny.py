"""Miniature models are the same from the same arguments, and different from others."""

from pathlib import Path

from charkha.kit.weights.gguf_check import check_adapter, check_model
from charkha.serve.engines.models import find_model
from charkha.testing.tiny import make_tiny_adapter, make_tiny_gguf


def test_equal_arguments_give_equal_files(tmp_path: Path) -> None:
    base = find_model(None, tmp_path).path
    models = [
        make_tiny_gguf(tmp_path / f"{n}.gguf", base, seed, layers=1, width=32) for n, seed in enumerate((1, 1, 2))
    ]
    first, second, third = (model.read_bytes() for model in models)
    assert first == second != third
    assert check_model(models[0]).layers == 1
    adapters = [make_tiny_adapter(tmp_path / f"a{n}.gguf", models[0], seed) for n, seed in enumerate((1, 1, 2))]
    one, two, other = (adapter.read_bytes() for adapter in adapters)
    assert one == two != other
    assert check_adapter(adapters[0], models[0]).targets == 7
