"""The forward pass computes what transformers' does, and in bfloat16 to the last bit the same whatever the batch."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from charkha.kit.weights import hf  # noqa: E402
from charkha.serve.engines.loom.cache import KeyValueCache  # noqa: E402
from charkha.serve.engines.loom.model import Batch, Model, Segment  # noqa: E402
from charkha.serve.engines.models import find_model  # noqa: E402


def tokens_of(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(5, 40_000, (count,), generator=torch.Generator().manual_seed(seed))


def piece(tokens: torch.Tensor, slot: int, start: int, end: int) -> Batch:
    places = torch.arange(start, end)
    return Batch(tokens[start:end], places, (), [Segment(0, end - start, slot, start)], torch.arange(end - start))


def difference(directory: Path, count: int) -> float:
    """The largest between the log probabilities of this forward pass and transformers', in float32."""
    model, ids = Model(directory, torch.float32, 256), tokens_of(count)
    cache = KeyValueCache(model.shape, 2, 256, torch.float32)
    cuts = [0, count // 2, count - 1, count]
    found = torch.cat([model.step(piece(ids, 1, *cut), cache)[0] for cut in itertools.pairwise(cuts)])
    wanted = hf.load_model(directory, "float32")(ids[None]).logits[0]
    return float((found.log_softmax(-1) - wanted.log_softmax(-1)).abs().max())


def test_it_computes_what_transformers_does(directory: Path) -> None:
    assert difference(directory, 100) < 1e-3


@pytest.mark.model
def test_it_computes_what_transformers_does_on_the_real_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = tmp_path_factory.mktemp("real")
    assert difference(hf.hf_directory(find_model(None, cache).path, cache), 40) < 1e-3


@pytest.mark.parametrize("config", [{"model_type": "qwen2"}, {"model_type": "qwen3", "head_dim": 32}])
def test_other_families_compute_what_transformers_does(tmp_path: Path, config: dict[str, object]) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    named = {**sizes, **config, "num_key_value_heads": 2, "vocab_size": 40_000, "tie_word_embeddings": True}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**named))
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            torch.nn.init.normal_(parameter, 1.0, 0.2)
    model.save_pretrained(tmp_path)
    assert difference(tmp_path, 70) < 1e-3


@pytest.fixture(scope="module")
def model(directory: Path) -> Model:
    return Model(directory, torch.bfloat16, 256)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 120), min_size=1, max_size=5), st.integers(0, 5), st.randoms(use_true_random=False))
def test_a_rows_numbers_do_not_depend_on_the_batch(
    model: Model, sizes: list[int], answered: int, random: object
) -> None:
    cache = KeyValueCache(model.shape, 6, 256, torch.bfloat16)
    texts = [tokens_of(size + answered, size) for size in sizes]
    alone = [model.step(piece(text, 5, 0, len(text)), cache)[0] for text in texts]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    segments = [
        Segment(start, start + size, slot, 0) for slot, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]
    prompts = torch.cat([text[:size] for text, size in zip(texts, sizes, strict=True)])
    places, total = torch.cat([torch.arange(size) for size in sizes]), sum(sizes)
    together, _ = model.step(Batch(prompts, places, (), segments, torch.arange(total)), cache)
    for segment, expected in zip(segments, alone, strict=True):
        assert torch.equal(together[segment.start : segment.end], expected[: segment.end - segment.start])
    slots = random.sample(range(len(sizes)), len(sizes))  # type: ignore[attr-defined]
    for step in range(answered):
        places = torch.tensor([sizes[slot] + step for slot in slots])
        tokens = torch.stack([texts[slot][place] for slot, place in zip(slots, places.tolist(), strict=True)])
        logits, _ = model.step(Batch(tokens, places, slots, [], torch.arange(len(slots))), cache)
        for slot, place, row in zip(slots, places.tolist(), logits, strict=True):
            assert torch.equal(row, alone[slot][place])


def test_a_forgotten_slot_reads_as_zeros(model: Model) -> None:
    cache = KeyValueCache(model.shape, 3, 2048, torch.bfloat16)
    for slot in range(3):
        model.step(piece(tokens_of(200), slot, 0, 200), cache)
    before = cache.read(1, slice(1, 2), 200)[0].clone()
    cache.forget(0)
    assert not cache.read(1, slice(0, 1), 64)[0].any()
    assert torch.equal(cache.read(1, slice(1, 2), 200)[0], before)
