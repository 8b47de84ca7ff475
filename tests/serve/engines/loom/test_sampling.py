"""Choices keep to what was asked: cuts, penalties, seeds, stop strings, whole characters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from charkha.serve.engines.loom.sampling import Sampler, Sampling, scored  # noqa: E402
from charkha.serve.engines.loom.text import Text, Writer  # noqa: E402

logits = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=30).map(lambda values: torch.tensor(values))


@given(logits, st.integers(0, 5), st.floats(0.01, 1), st.floats(0, 1), st.integers(0, 2**40))
def test_what_is_cut_is_never_drawn(values: torch.Tensor, top_k: int, top_p: float, min_p: float, seed: int) -> None:
    wanted = Sampling(temperature=1.0, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    token = Sampler(wanted).choose(values.clone())
    above = values > values[token]
    assert not top_k or int(above.sum()) < top_k
    shares = values.topk(top_k).values.softmax(-1) if 0 < top_k < len(values) else values.softmax(-1)
    share = float(torch.exp(values[token] - values.max()))
    assert not above.any() or share >= min_p - 1e-5
    assert not above.any() or float(shares[: int(above.sum())].sum()) <= 1
    assert Sampler(wanted).choose(values.clone()) == token


def test_draws_follow_the_probabilities() -> None:
    sampler = Sampler(Sampling(temperature=1.0, seed=1))
    values = torch.tensor([0.5, 0.3, 0.2]).log()
    drawn = [sampler.choose(values.clone()) for _ in range(4000)]
    for token, share in enumerate((0.5, 0.3, 0.2)):
        assert drawn.count(token) / len(drawn) == pytest.approx(share, abs=0.04)


def test_nucleus_keeps_just_enough() -> None:
    values = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    sampler = Sampler(Sampling(top_p=0.7, seed=1))
    assert {sampler.choose(values.clone()) for _ in range(200)} == {0, 1}
    sampler = Sampler(Sampling(min_p=0.2, seed=1))
    assert {sampler.choose(values.clone()) for _ in range(300)} == {0, 1, 2}


def test_penalties_and_biases_change_the_choice() -> None:
    values = torch.tensor([2.0, 1.9, 0.0])
    for how in ({"frequency_penalty": 0.5}, {"presence_penalty": 0.5}, {"repeat_penalty": 1.5}):
        sampler = Sampler(Sampling(temperature=0, **how))
        assert [sampler.choose(values.clone()) for _ in range(2)] == [0, 1]
    assert Sampler(Sampling(temperature=0, repeat_penalty=1.5), (0,)).choose(values.clone()) == 1
    assert Sampler(Sampling(temperature=0, bias=((2, 5.0), (99, 1.0)))).choose(values.clone()) == 2
    allowed = torch.tensor([False, False, True])
    assert Sampler(Sampling(temperature=0)).choose(values.clone(), allowed) == 2


def test_scores_are_log_probabilities() -> None:
    values = torch.tensor([0.5, 0.3, 0.2]).log() + 3
    score = scored(values, 1, 2)
    assert score.log_probability == pytest.approx(torch.tensor(0.3).log().item(), abs=1e-5)
    assert [token for token, _ in score.best] == [0, 1]


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=30), st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_a_text_comes_whole_up_to_its_stop_string(text: Text, answer: str, stops: list[str]) -> None:
    tokens = text.plain(answer)
    whole = text.tokenizer.decode(tokens, skip_special_tokens=True)
    writer, told = Writer(text, stops), ""
    for token in tokens:
        told += writer.feed(token)
        assert whole.startswith(told)
        if writer.finished:
            break
    told += writer.close()
    met = [place for stop in stops if (place := whole.find(stop)) >= 0]
    assert writer.finished == bool(met)
    assert told == (whole[: min(met)] if met else whole)
