"""Errors say what is wrong and what to do."""

from charkha.core import errors
from charkha.core.events import Event
from charkha.core.messages import Example, Message


def test_an_error_reads_as_one_sentence_and_a_remedy() -> None:
    error = errors.Invalid("The label is missing.", remedy="Add it.", param="label", code="no_label")
    assert str(error) == "The label is missing. Add it."
    assert (error.status, error.code, error.param, error.exit_code) == (400, "no_label", "label", 2)


def test_every_kind_has_a_status_and_an_exit_code_of_an_error() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.CharkhaError)]
    assert len(kinds) > 8
    assert all(kind.status >= 400 and kind.exit_code > 0 for kind in kinds)


def test_topics_of_events_are_unique_and_registered() -> None:
    assert all(topic == kind.topic for topic, kind in Event.registry.items())


def test_the_question_is_what_the_user_said_last() -> None:
    said = (Message("system", "s"), Message("user", "one"), Message("assistant", "a"), Message("user", "two"))
    assert Example(prompt=said, answer="x").question() == "two"
    assert Example(prompt=(), answer="x").question() == ""
    assert said[0].as_dict() == {"role": "system", "content": "s"}
