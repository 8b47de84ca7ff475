"""What feedback says of an answer, as properties."""

import math
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid, NotFound
from charkha.core.ids import uuid7
from charkha.learn.feedback.domain import (
    KINDS,
    Draft,
    Signal,
    body_hash,
    check,
    inference_id,
    lesson,
    score,
)

INFERENCE, OTHER = uuid7(), uuid7()
THUMBS = st.tuples(st.just("thumb"), st.sampled_from([0.0, 1.0]), st.none())
SCORES = st.tuples(st.just("score"), st.floats(0, 1), st.none())
CORRECTIONS = st.tuples(st.just("correction"), st.none(), st.text(min_size=1))
IDLE = st.tuples(st.sampled_from(["comment", "metric", "preference"]), st.floats(), st.text())


@st.composite
def histories(draw: st.DrawFn, *kinds: st.SearchStrategy[Any]) -> list[Signal]:
    """Signals with ids in the order in which they were given."""
    given_ones = draw(st.lists(st.one_of(*(kinds or (THUMBS, SCORES, CORRECTIONS, IDLE))), max_size=12))
    return [Signal(UUID(int=place), *each) for place, each in enumerate(given_ones)]


@given(histories())
def test_a_score_lies_between_0_and_1(signals: list[Signal]) -> None:
    found = score(signals)
    assert found is None or 0 <= found.value <= 1
    assert (found is None) == all(signal.kind in ("comment", "metric", "preference") for signal in signals)


@given(histories(), st.randoms())
def test_the_order_of_reading_does_not_matter(signals: list[Signal], random: Any) -> None:
    shuffled = random.sample(signals, len(signals))
    assert score(shuffled) == score(signals)
    assert lesson(INFERENCE, shuffled) == lesson(INFERENCE, signals)


@given(histories(), st.one_of(THUMBS, SCORES))
def test_the_latest_judgement_wins(signals: list[Signal], last: tuple[str, float, None]) -> None:
    latest = Signal(UUID(int=2**100), *last)
    found = score([*signals, latest])
    assert found
    assert (found.value, found.feedback_id) == (last[1], latest.id)


@given(histories(), histories(IDLE))
def test_comments_metrics_and_preferences_say_nothing_of_right_and_wrong(
    signals: list[Signal], idle: list[Signal]
) -> None:
    assert score([*signals, *idle]) == score(signals)
    assert lesson(INFERENCE, [*signals, *idle]) == lesson(INFERENCE, signals)


@given(histories(CORRECTIONS, IDLE))
def test_a_correction_alone_says_that_the_answer_was_wrong(signals: list[Signal]) -> None:
    corrections = [signal for signal in signals if signal.kind == "correction"]
    found, learned = score(signals), lesson(INFERENCE, signals)
    if not corrections:
        assert found is learned is None
        return
    assert found
    assert learned
    assert found.value == 0
    assert (learned.answer, learned.accepted, learned.feedback_id) == (corrections[-1].text, False, corrections[-1].id)


@given(histories(THUMBS, SCORES, IDLE))
def test_an_answer_is_accepted_by_its_latest_thumb(signals: list[Signal]) -> None:
    thumbs = [signal for signal in signals if signal.kind == "thumb"]
    learned = lesson(INFERENCE, signals)
    assert (learned is not None) == (bool(thumbs) and thumbs[-1].value == 1)
    assert learned is None or (learned.accepted and learned.answer is None and learned.feedback_id == thumbs[-1].id)


def draft(kind: Any = "thumb", **fields: Any) -> Draft:
    return Draft(kind=kind, **({"inference_id": INFERENCE} | fields))


RIGHT = [
    draft("score", value=0.5),
    draft("score", value=0.0, inference_id=None, episode_id="e"),
    draft("thumb", value=1.0),
    draft("metric", name="sales", value=-3e300),
    draft("comment", text="fine"),
    draft("comment", text="fine", inference_id=None, episode_id="e"),
    draft("correction", text="net", subject_id="ann", idempotency_key="k"),
    draft("preference", other_inference_id=OTHER),
]
WRONG = [
    ("kind", draft("praise", value=1.0)),
    ("inference_id", draft("thumb", value=1.0, episode_id="both")),
    ("inference_id", draft("thumb", value=1.0, inference_id=None)),
    ("inference_id", draft("correction", text="net", inference_id=None, episode_id="e")),
    ("inference_id", draft("preference", other_inference_id=OTHER, inference_id=None, episode_id="e")),
    ("other_inference_id", draft("preference", other_inference_id=INFERENCE)),
    ("other_inference_id", draft("preference")),
    ("value", draft("thumb")),
    ("value", draft("thumb", value=0.5)),
    ("value", draft("thumb", value=math.nan)),
    ("value", draft("score", value=1.01)),
    ("value", draft("score", value=-0.01)),
    ("value", draft("score", value=math.nan)),
    ("value", draft("metric", name="sales", value=math.inf)),
    ("value", draft("comment", text="fine", value=1.0)),
    ("name", draft("metric", value=1.0)),
    ("name", draft("thumb", value=1.0, name="taste")),
    ("text", draft("correction")),
    ("text", draft("correction", text="   ")),
    ("text", draft("comment", text="a\0b")),
    ("text", draft("comment", text="\ud83d")),
    ("text", draft("comment", text="x" * 200_001)),
    ("subject_id", draft("thumb", value=1.0, subject_id="s" * 201)),
    ("episode_id", draft("thumb", value=1.0, inference_id=None, episode_id="\0")),
    ("idempotency_key", draft("thumb", value=1.0, idempotency_key="k" * 256)),
    ("idempotency_key", draft("thumb", value=1.0, idempotency_key="")),
]


@pytest.mark.parametrize("right", RIGHT)
def test_well_formed_feedback_passes(right: Draft) -> None:
    check(right)


def test_every_kind_is_tried() -> None:
    assert {each.kind for each in RIGHT} == set(KINDS)


@pytest.mark.parametrize(("param", "wrong"), WRONG)
def test_what_is_wrong_is_named(param: str, wrong: Draft) -> None:
    with pytest.raises(Invalid) as caught:
        check(wrong)
    assert caught.value.param == param


def test_two_bodies_are_the_same_but_for_their_key() -> None:
    hashes = {body_hash(each) for each in RIGHT}
    assert len(hashes) == len(RIGHT)
    assert body_hash(draft(value=1.0, idempotency_key="a")) == body_hash(draft(value=1.0, idempotency_key="b"))


@given(st.text(alphabet="ghijk-\0 é", max_size=60))
def test_what_is_no_id_is_an_inference_that_does_not_exist(text: str) -> None:
    with pytest.raises(NotFound):
        inference_id(text)


def test_ids_of_answers_are_understood() -> None:
    assert inference_id(str(INFERENCE)) == inference_id(f"chatcmpl-{INFERENCE}") == INFERENCE
