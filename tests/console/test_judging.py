"""Feedback as forms send it and as pages name it."""

from typing import Any

import pytest

from charkha.console import judging
from charkha.core.errors import Invalid


def test_the_first_nine_labels_have_keys_and_the_answer_is_marked() -> None:
    labels = [f"label {number}" for number in range(11)]
    made = judging.choices(labels, " Label 3.")
    assert [choice.key for choice in made] == [*"123456789", "", ""]
    assert [choice.label for choice in made if choice.was_answered] == ["label 3"]
    assert judging.choices(None, "x") == []


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ({"kind": "thumb", "value": "1"}, {"kind": "thumb", "value": 1.0}),
        (
            {"kind": "correction", "text": "so", "once": "k"},
            {"kind": "correction", "text": "so", "idempotency_key": "k"},
        ),
        ({}, {"kind": ""}),
    ],
)
def test_a_form_becomes_what_the_api_takes(form: dict[str, str], body: dict[str, Any]) -> None:
    assert judging.body("some id", form) == {"inference_id": "some id", **body}


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(Invalid, match="'much' is no number"):
        judging.body("some id", {"kind": "score", "value": "much"})


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"kind": "thumb", "value": 1.0}, "right"),
        ({"kind": "thumb", "value": 0.0}, "wrong"),
        ({"kind": "correction", "value": None}, "corrected"),
        ({"kind": "score", "value": 0.754}, "score 0.754"),
        ({"kind": "metric", "value": 12.0, "name": "seconds"}, "seconds 12"),
        ({"kind": "comment", "value": None}, "comment"),
        ({"kind": "preference", "value": None}, "preferred"),
    ],
)
def test_feedback_is_named_in_a_word(given: dict[str, Any], word: str) -> None:
    assert judging.told({"name": None, **given}) == word
