"""What a training policy is, and what lessons teach. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.ids import instant
from charkha.core.messages import Example, plain
from charkha.learn.ports import InferenceContent, Lesson

SHIPPING_TIME = timedelta(minutes=10)
"""An inference that is not in the log so long after it was made will not come any more."""


class Policy(msgspec.Struct, frozen=True):
    """Train an endpoint's next candidate whenever `minimum_examples` new lessons have come.

    `considered_until` is the id of the last feedback that a run, or a refused one, has taken in.
    """

    endpoint_id: UUID
    enabled: bool
    minimum_examples: int
    recipe: str
    config: dict[str, Any]
    considered_until: UUID | None
    created_at: datetime


class Outlook(Policy, frozen=True):
    """A policy, and how many lessons of its endpoint wait for the next training.

    Counted as training counts them, but that no content is read (one whose prompt is empty counts), and not beyond the
    last 10,000 pieces of feedback.
    """

    lessons_waiting: int


def on_their_way(lessons: Iterable[Lesson], known: Collection[UUID], at: datetime) -> bool:
    """Whether a lesson's inference is not in the log yet, but may still come."""
    missing = (lesson.inference_id for lesson in lessons if lesson.inference_id not in known)
    return any(at - instant(inference_id) < SHIPPING_TIME for inference_id in missing)


def teach(
    endpoint_id: UUID,
    lessons: Sequence[Lesson],
    contents: Mapping[UUID, InferenceContent],
    labels: Sequence[str] | None,
) -> list[Example]:
    """The examples that an endpoint's lessons make with what was asked, the latest first.

    An answer that is one of `labels` but for case, outer space and final punctuation becomes that label. An empty one
    teaches nothing: it is that of tool calls, or of content that is not kept.
    """
    classes = {plain(label): label for label in labels or ()}
    examples = []
    for lesson in sorted(lessons, key=lambda lesson: lesson.feedback_id, reverse=True):
        content = contents.get(lesson.inference_id)
        if content is None or content.endpoint_id != endpoint_id or not content.prompt:
            continue
        answer = content.answer if lesson.answer is None else lesson.answer
        if not answer:
            continue
        label = classes.get(plain(answer))
        examples.append(
            Example(content.prompt, label or answer, label, str(lesson.inference_id), subject_id=content.subject_id)
        )
    return examples
