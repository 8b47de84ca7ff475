"""How answers are scored, and what is measured on which suite."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.messages import Example, Message
from charkha.evaluate import scoring
from charkha.evaluate.likelihood import as_asked
from tests.evaluate.world import example


@pytest.mark.parametrize(
    ("metric", "answer", "right", "expected"),
    [
        ("exact_match", " Games. ", "games", 1.0),
        ("exact_match", "games!", "Games", 1.0),
        ("exact_match", "the games", "games", 0.0),
        ("token_f1", "the red fox", "a red fox", 2 / 3),
        ("token_f1", "", "a red fox", 0.0),
        ("token_f1", "A red fox.", "a red fox", 1.0),
    ],
)
def test_scores(metric: scoring.Metric, answer: str, right: str, expected: float) -> None:
    assert scoring.score(metric, answer, right) == pytest.approx(expected)


@given(st.text(), st.text())
def test_f1_is_symmetric_and_bounded(one: str, other: str) -> None:
    forth, back = scoring.score("token_f1", one, other), scoring.score("token_f1", other, one)
    assert forth == back
    assert 0 <= forth <= 1


def test_labels_are_ranked_only_where_every_example_has_one_of_several() -> None:
    both = [example("x", "b"), example("y", "a")]
    assert scoring.classes(both) == ("a", "b")
    assert scoring.classes([*both, example("z", None, "free")]) is None
    assert scoring.classes(both[:1]) is None
    assert scoring.metrics(("a", "b")) == ("label_accuracy", "exact_match")
    assert scoring.metrics(None) == ("token_accuracy", "token_f1")


@given(st.lists(st.text(max_size=2000), min_size=1, max_size=5))
def test_the_tokens_allowed_are_bounded(answers: list[str]) -> None:
    assert 4 <= scoring.most_tokens([example("x", None, answer) for answer in answers]) <= 256


def test_a_versions_system_prompt_goes_before_examples_that_bring_none() -> None:
    bare = example("x", "a")
    brought = Example((Message("system", "Mine."), Message("user", "x")), "a", "a")
    asked = as_asked([bare, brought], "Yours.")
    assert [each.prompt[0].content for each in asked] == ["Yours.", "Mine."]
    assert asked[0].prompt[1:] == bare.prompt
    assert as_asked([bare], None) == [bare]
