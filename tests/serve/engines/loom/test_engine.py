"""Requests in one batch answer as each would alone, with the right adapters, whatever comes and goes beside them."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from charkha.core.errors import CharkhaError, Conflict, Invalid, Unavailable
from charkha.serve.engines.loom.engine import LoomEngine, Room
from charkha.serve.engines.loom.text import Text
from charkha.serve.engines.loom.work import Embedded, Embedding, Scored, Scoring
from tests.serve.engines.loom.conftest import Asked, Asker

PROMPTS = [
    f"The story of {subject} begins " + "long ago and far away, " * length
    for subject, length in (("salt", 0), ("a wheel", 1), ("cotton and the loom", 3), ("nobody", 8), ("two rivers", 12))
]


def blends(adapters: dict[str, Path]) -> list[tuple[tuple[str, float], ...]]:
    names = list(adapters)
    return [(), ((names[0], 1.0),), ((names[1], 1.0),), ((names[0], 0.5), (names[1], 0.5)), ((names[9], 1.0),)]


def test_a_mixed_batch_answers_as_single_requests_do(ask: Asker, adapters: dict[str, Path]) -> None:
    asked = [(prompt, blend) for prompt in PROMPTS for blend in blends(adapters)]
    alone = {(prompt, blend): ask(prompt, *blend, most=12) for prompt, blend in asked}
    assert len(set(alone.values())) > len(asked) // 2
    random.Random(0).shuffle(asked)
    together = [(prompt, blend, ask.start(prompt, *blend, most=12)) for prompt, blend in asked]
    for prompt, blend, request in together:
        assert request.answer() == alone[prompt, blend]


def test_a_seed_gives_the_same_text_whatever_else_is_in_the_batch(ask: Asker) -> None:
    how = {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "seed": 7, "most": 16}
    alone = ask(PROMPTS[1], **how)
    beside = [ask.start(prompt, temperature=1.0, most=24) for prompt in PROMPTS[:3]]
    assert ask(PROMPTS[1], **how) == alone
    assert ask(PROMPTS[1], **{**how, "seed": 8}) != alone
    for each in beside:
        each.answer()


def test_more_adapters_than_blocks_are_loaded_and_evicted(ask: Asker, adapters: dict[str, Path]) -> None:
    expected = {name: ask(PROMPTS[1], (name, 1.0)) for name in adapters}
    assert len(set(expected.values())) == len(adapters)
    for _ in range(2):
        requests = {name: ask.start(PROMPTS[1], (name, 1.0)) for name in adapters}
        assert {name: request.answer() for name, request in requests.items()} == expected


def test_an_adapter_that_is_taken_away_stays_for_the_request_that_runs(ask: Asker, adapters: dict[str, Path]) -> None:
    name = next(iter(adapters))
    expected = ask(PROMPTS[1], (name, 1.0), most=100)
    request = ask.start(PROMPTS[1], (name, 1.0), most=100)
    ask.engine.remove(name)
    with pytest.raises(Conflict):
        ask(PROMPTS[1], (name, 1.0))
    assert request.answer() == expected
    until(lambda: name not in ask.engine.warm)
    ask.engine.add(name, adapters[name])
    assert ask(PROMPTS[1], (name, 1.0), most=100) == expected


def test_a_cancelled_request_frees_its_slot(ask: Asker) -> None:
    long = [ask.start(PROMPTS[0], most=200) for _ in range(4)]
    waiting = ask.start(PROMPTS[0], most=2)
    ask.engine.cancel(long[0].work)
    waiting.answer()
    assert any(request.work.finished is False for request in long[1:])
    for request in long[1:]:
        ask.engine.cancel(request.work)
    until(lambda: not ask.engine._running)


def test_answers_go_on_while_a_long_prompt_is_read(ask: Asker) -> None:
    request = ask.start(PROMPTS[0], most=60)
    request.result()
    before = len(request.work.tokens)
    long = ask.start("word " * 150, most=1)
    long.answer()
    assert len(request.work.tokens) - before >= 150 // ask.engine.room.beside - 1
    request.answer()


def test_a_prefix_is_shared_under_the_same_key_alone(ask: Asker, adapters: dict[str, Path]) -> None:
    prompt = PROMPTS[3]
    expected = ask(prompt + "once", share=None)
    size = len(ask.text.plain(prompt))

    def cached(share: object, *blend: tuple[str, float]) -> int:
        request = ask.start(prompt + "once", *blend, share=share)
        pieces = request.pieces()
        if not blend:
            assert "".join(piece.text for piece in pieces) == expected
        return pieces[-1].cached

    assert cached(("one", ())) == 0
    assert cached(("one", ())) >= size - 2
    assert cached(("two", ())) == 0
    assert cached(None) == 0


def test_the_cache_keeps_to_its_bytes(engines: Callable[..., LoomEngine], text: Text) -> None:
    engine = engines(Room(slots=4, context=256, cache_bytes=200 * 256, blocks=4, beside=16, alone=48))
    ask = Asker(engine, text)
    assert engine.most_tokens == 200 * 256 // engine._cache.bytes_per_token
    requests = [ask.start(PROMPTS[number % 4], most=40, share=("w", number)) for number in range(12)]
    assert all(request.answer() for request in requests)
    assert engine._slots.claimed <= engine.most_tokens


def test_continuations_are_scored_as_they_would_be_alone(ask: Asker, adapters: dict[str, Path]) -> None:
    prompt, texts = ask.text.plain(PROMPTS[2]), [ask.text.plain(each) for each in (" red", " a very blue one", " red")]
    blend = ((next(iter(adapters)), 1.0),)

    def score(*continuations: list[int]) -> tuple[tuple[float, ...], ...]:
        found = Asked(ask.engine, lambda emit: Scoring(prompt, continuations, blend, None, emit)).result()
        assert isinstance(found, Scored)
        return found.continuations

    together = score(*texts)
    assert together == tuple(score(each)[0] for each in texts)
    assert [len(each) for each in together] == [len(each) for each in texts]
    assert all(value < 0 for each in together for value in each)


def test_a_text_is_embedded_the_same_in_pieces(ask: Asker) -> None:
    def embed(text: str) -> tuple[float, ...]:
        found = Asked(ask.engine, lambda emit: Embedding(ask.text.plain(text), emit)).result()
        assert isinstance(found, Embedded)
        return found.values

    long, beside = "salt and cotton " * 20, ask.start(PROMPTS[0], most=40)
    first = embed(long)
    beside.answer()
    assert first == pytest.approx(embed(long), abs=1e-5)
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-3)


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_blend_that_would_never_fit_is_refused(ask: Asker, adapters: dict[str, Path]) -> None:
    with pytest.raises(Invalid, match="ranks"):
        ask(PROMPTS[0], *((name, 0.1) for name in sorted(adapters)[:5]))


def test_a_step_that_fails_costs_its_requests_alone(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ask(PROMPTS[0])
    with monkeypatch.context() as patch:
        patch.setattr(ask.engine.model, "step", lambda *_: 1 / 0)
        with pytest.raises(CharkhaError, match="failed"):
            ask(PROMPTS[0])
    assert ask(PROMPTS[0]) == expected


def test_a_broken_engine_says_so_and_leaves_nobody_waiting(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(ask.engine, "_on_broken", lambda: told.append(True))
    monkeypatch.setattr(ask.engine._slots, "take", lambda *_: 1 / 0)
    with pytest.raises(Unavailable):
        ask(PROMPTS[0])
    with pytest.raises(Unavailable):
        ask(PROMPTS[0])
    until(lambda: told == [True])


def test_penalties_and_biases_reach_the_choice(ask: Asker) -> None:
    plain = ask.start(PROMPTS[0], most=30, top=0).pieces()
    chosen = [score.token for piece in plain for score in piece.scores]
    forced = ask.start(PROMPTS[0], most=30, top=0, bias=((chosen[0], -100.0),), repeat_penalty=1.5).pieces()
    other = [score.token for piece in forced for score in piece.scores]
    assert chosen[0] not in other
    assert len(set(other)) >= len(set(chosen))
