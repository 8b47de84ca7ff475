"""The index of questions: the nearest one is found, whatever came and went, and only within its scope."""

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serve.caches.process import Question, WorkspaceCache
from charkha.serve.caches.semantic import SemanticIndex
from tests.serve.caches.test_exact import kept

HERE = UUID(int=1)
numbers = st.lists(st.integers(-9, 9), min_size=3, max_size=3).filter(any)
steps = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12), numbers, st.booleans()), max_size=50)


@given(steps, numbers, st.floats(0.5, 1))
def test_the_nearest_is_found_whatever_came_and_went(
    history: list[tuple[str, int, list[int], bool]], asked: list[int], threshold: float
) -> None:
    index, held = SemanticIndex(HERE), dict[bytes, tuple[bytes, list[int]]]()
    for scope, number, vector, goes in history:
        key = bytes([number])
        if goes:
            index.drop(key)
            held.pop(key, None)
        else:
            index.add(scope.encode(), key, made(index, vector))
            held[key] = scope.encode(), vector
    assert len(index) == len(held)
    for scope in (b"a", b"b"):
        cosines = {key: cosine(asked, vector) for key, (of, vector) in held.items() if of == scope}
        near = index.nearest(scope, made(index, asked), threshold)
        best = max(cosines.values(), default=0.0)
        if near is None:
            assert best < threshold + 1e-5
        else:
            assert near.similarity == pytest.approx(best, abs=1e-5) == pytest.approx(cosines[near.key], abs=1e-5)
            assert threshold <= near.similarity <= 1


def made(index: SemanticIndex, vector: list[int]) -> np.ndarray:
    found = index.vector([float(each) for each in vector])
    assert found is not None
    return found


def cosine(one: list[int], other: list[int]) -> float:
    return float(np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)))


def test_vectors_of_another_model_take_the_place_of_the_old() -> None:
    index = SemanticIndex(HERE)
    index.add(b"s", b"a", made(index, [1, 0]))
    assert index.nearest(b"s", made(index, [1, 0, 0]), 0.5) is None
    index.add(b"s", b"b", made(index, [1, 0, 0]))
    assert len(index) == 1
    index.drop(b"a")
    assert index.nearest(b"s", made(index, [1, 0, 0]), 0.5) == (b"b", 1.0)


@pytest.mark.parametrize("numbers", [[], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_what_has_no_direction_is_no_vector(numbers: list[float]) -> None:
    assert SemanticIndex.vector(numbers) is None


@pytest.mark.anyio
async def test_a_question_goes_with_its_answer_and_its_bytes_count() -> None:
    cache = WorkspaceCache(HERE, 20_000, lambda: 100.0)
    index = await cache.questions()
    vector = index.vector([1.0] * 384)
    assert vector is not None
    question = Question(b"s", vector)
    for number in range(40):
        one = kept(10)
        assert cache.put(bytes([number]), replace(one, extra=question.bytes), question)
        assert len(index) == len(cache.exact)
        assert cache.exact.bytes <= 20_000
    assert len(index) == 20_000 // (question.bytes + kept(10).size)
    cache.exact.sweep(lambda endpoint_id: None)
    assert len(index) == 0
