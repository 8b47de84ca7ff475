"""How a turn splits its data and judges answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.app.spin.domain import endpoint_name, longest_answer, portions, score, training_seconds
from charkha.app.spin.traffic import drawn, judged
from charkha.core.errors import Invalid
from charkha.core.ids import uuid7
from charkha.core.messages import Example, Message
from charkha.data.connectors.source import Source, labelled
from charkha.data.domain import fingerprint


def _source(count: int, labels: tuple[str, ...]) -> Source:
    examples = tuple(labelled(f"text number {n}", labels[n % len(labels)]) for n in range(count))
    return Source("t", labels, examples, "Say which.", ())


@given(st.integers(min_value=40, max_value=1500), st.integers(min_value=2, max_value=12))
def test_the_three_portions_share_no_text_and_each_shows_every_class(count: int, classes: int) -> None:
    labels = tuple(f"label {n}" for n in range(classes))
    if count < 15 * classes:
        return
    parts = portions(_source(count, labels))
    sets = [{fingerprint(example) for example in part} for part in (parts.train, parts.held_out, parts.live)]
    assert sets[0].isdisjoint(sets[1] | sets[2])
    assert sets[1].isdisjoint(sets[2])
    assert {example.label for example in parts.train} == {example.label for example in parts.held_out} == set(labels)
    assert len(parts.train) <= 600
    assert len(parts.held_out) <= 200
    assert parts.live


def test_too_few_examples_are_refused_with_a_remedy() -> None:
    with pytest.raises(Invalid) as caught:
        portions(_source(5, ("a", "b", "c", "d")))
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("answer", "wanted", "graded", "expected"),
    [
        (" Games. ", "games", False, 1.0),
        ("gnu-R", "gnu-r", False, 1.0),
        ("game", "games", False, 0.0),
        ("", "games", False, 0.0),
        ("a b c d", "a b", True, 2 / 3),
        ("nothing alike", "other words", True, 0.0),
        ("The same words!", "the same words", True, 1.0),
    ],
)
def test_answers_are_judged(answer: str, wanted: str, graded: bool, expected: float) -> None:
    assert score(answer, wanted, graded=graded) == pytest.approx(expected)


@given(st.text(max_size=50), st.text(max_size=50), st.booleans())
def test_a_score_is_a_share_and_equal_answers_are_right(answer: str, wanted: str, graded: bool) -> None:
    assert 0.0 <= score(answer, wanted, graded=graded) <= 1.0
    assert score(wanted, wanted, graded=graded) == 1.0


def test_feedback_says_what_was_wrong() -> None:
    example = Example(prompt=(Message("user", "x"),), answer="games", label="games", subject_id="person")
    right = judged(uuid7(), 1.0, example, graded=False)
    wrong = judged(uuid7(), 0.0, example, graded=False)
    graded = judged(uuid7(), 0.5, example, graded=True)
    assert [item["kind"] for item in right] == ["thumb"]
    assert [(item["kind"], item["text"]) for item in wrong] == [("correction", "games")]
    assert [item["kind"] for item in graded] == ["correction", "score"]
    assert all(item["subject_id"] == "person" for item in right + wrong + graded)


def test_live_traffic_sends_each_text_before_any_again() -> None:
    examples = _source(10, ("a", "b")).examples
    sent = [example for example, _ in zip(drawn(examples), range(25), strict=False)]
    assert set(sent[:10]) == set(examples)
    assert set(sent[10:]) <= set(examples)


def test_an_endpoint_gets_a_name_that_is_free() -> None:
    assert endpoint_name("Debian package descriptions → section", []) == "debian-package-descriptions-section"
    assert endpoint_name("Ünïcode!", ["n-code"]) == "n-code-2"
    assert endpoint_name("→", []) == "task"


def test_long_answers_are_bounded() -> None:
    assert longest_answer([]) == 4
    assert longest_answer([labelled("x", "graphics")]) == 7
    assert longest_answer([labelled("x", "y" * 5000)]) == 128


@given(st.floats(0, 10_000))
def test_training_gets_what_eight_minutes_leave_within_bounds(scored_in: float) -> None:
    seconds = training_seconds(scored_in)
    assert 100 <= seconds <= 240
    if 100 < seconds < 240:
        assert 4 * scored_in + seconds == pytest.approx(390)
