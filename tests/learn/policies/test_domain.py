"""What lessons teach, and when nothing can be learned from them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.ids import uuid7
from charkha.core.messages import Message
from charkha.learn.feedback.domain import Lesson
from charkha.learn.policies import domain
from charkha.learn.runs.domain import problem
from tests.learn.world import example

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENDPOINT, OTHER = uuid7(), uuid7()
LABELS = ["Games", "science"]


class Content(msgspec.Struct, frozen=True):
    id: UUID
    endpoint_id: UUID | None
    prompt: tuple[Message, ...]
    answer: str
    subject_id: str | None = None


def content(answer: str, endpoint: UUID | None = ENDPOINT, prompt: str = "what is it?") -> Content:
    return Content(uuid7(), endpoint, (Message("user", prompt),) if prompt else (), answer, "ann")


def lesson(about: Content, answer: str | None, number: int = 1) -> Lesson:
    return Lesson(UUID(int=number), about.id, "correction" if answer else "thumb", answer, accepted=answer is None)


def taught(*pairs: tuple[Content, str | None], labels: list[str] | None = LABELS) -> list[tuple[str, str | None]]:
    lessons = [lesson(about, answer, number) for number, (about, answer) in enumerate(pairs)]
    examples = domain.teach(ENDPOINT, lessons, {about.id: about for about, _ in pairs}, labels)
    return [(each.answer, each.label) for each in examples]


def test_an_accepted_answer_and_a_correction_teach_their_label_the_latest_first() -> None:
    right, wrong, strange = content(" games. "), content("science"), content("cooking")
    assert taught((right, None), (wrong, "GAMES"), (strange, None)) == [
        ("cooking", None),
        ("Games", "Games"),
        ("Games", "Games"),
    ]
    assert taught((right, None), labels=None) == [(" games. ", None)]


def test_what_is_of_another_endpoint_or_without_content_or_unknown_teaches_nothing() -> None:
    known = content("science")
    unknown = lesson(content("games"), None)
    assert (
        taught((content("games", OTHER), None), (content("games", prompt=""), None), (content("games", None), None))
        == []
    )
    assert domain.teach(ENDPOINT, [unknown, lesson(known, None)], {known.id: known}, LABELS)[0].answer == "science"


def test_an_empty_answer_teaches_nothing_unless_it_was_corrected() -> None:
    called = content("")
    assert taught((called, None), (content("science"), None)) == [("science", "science")]
    assert taught((called, "games")) == [("Games", "Games")]


def test_an_example_names_its_inference_and_its_person() -> None:
    about = content("science")
    (made,) = domain.teach(ENDPOINT, [lesson(about, None)], {about.id: about}, None)
    assert (made.inference_id, made.subject_id, made.prompt) == (str(about.id), "ann", about.prompt)


def test_nothing_to_tell_apart_is_a_problem() -> None:
    assert "nothing to learn from" in str(problem([]))
    assert "All 2 lessons have the label 'a'" in str(problem([example("x", "a"), example("y", "a")]))
    assert problem([example("x", "a"), example("y", "b")]) is None
    assert problem([example("x", None)]) is None


@pytest.mark.parametrize(("minutes", "expected"), [(0, True), (9, True), (11, False)])
def test_an_inference_that_is_not_shipped_may_come_for_ten_minutes(minutes: int, expected: bool) -> None:
    made = uuid7(int((NOW - timedelta(minutes=minutes)).timestamp() * 1000))
    waiting = Lesson(uuid7(), made, "thumb", None, accepted=True)
    assert domain.on_their_way([waiting], set(), NOW) is expected
    assert domain.on_their_way([waiting], {made}, NOW) is False


@given(st.text())
def test_comparing_an_answer_twice_changes_nothing(text: str) -> None:
    assert domain.plain(f" {text}. ") == domain.plain(f"{text}.")
