"""What feedback is, when it is well formed, and what it says about an answer. Pure: the judgement of this feature.

An answer's **score** in [0, 1] is its latest thumb (up 1, down 0) or score; an answer that was corrected and has
neither scored 0, because the correction says that it was wrong. Its **lesson** is the latest correction, or else the
answer itself if the latest thumb is up. Comments, metrics and preferences do neither. "Latest" is by feedback id.
"""

import hashlib
import math
from collections.abc import Collection
from types import MappingProxyType
from typing import Literal, get_args
from uuid import UUID

import msgspec

from charkha.core.errors import Invalid, NotFound

Kind = Literal["score", "thumb", "comment", "correction", "preference", "metric"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TEACHING: tuple[Kind, ...] = ("correction", "thumb")
SCORING: tuple[Kind, ...] = ("correction", "thumb", "score")
TEXT_LIMIT, NAME_LIMIT, KEY_LIMIT = 200_000, 200, 255

_PARTS: MappingProxyType[Kind, frozenset[str]] = MappingProxyType(
    {
        "score": frozenset({"value"}),
        "thumb": frozenset({"value"}),
        "metric": frozenset({"name", "value"}),
        "comment": frozenset({"text"}),
        "correction": frozenset({"text"}),
        "preference": frozenset({"other_inference_id"}),
    }
)
_ON_ANSWERS_ALONE = ("correction", "preference")
_LIMITS = {
    "text": TEXT_LIMIT,
    "name": NAME_LIMIT,
    "episode_id": NAME_LIMIT,
    "subject_id": NAME_LIMIT,
    "idempotency_key": KEY_LIMIT,
}


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """Feedback as it is given. `value` is the score in [0, 1], the thumb as 1 or 0, or the metric's number."""

    kind: Kind
    inference_id: UUID | None = None
    episode_id: str | None = None
    value: float | None = None
    text: str | None = None
    name: str | None = None
    other_inference_id: UUID | None = None
    subject_id: str | None = None
    idempotency_key: str | None = None


class Signal(msgspec.Struct, frozen=True):
    """As much of stored feedback on one inference as its score and its lesson are judged by."""

    id: UUID
    kind: str
    value: float | None = None
    text: str | None = None


class Lesson(msgspec.Struct, frozen=True):
    """What feedback teaches about one inference: the wanted `answer`, or None where what was answered is `accepted`."""

    feedback_id: UUID
    inference_id: UUID
    kind: str
    answer: str | None
    accepted: bool


class Score(msgspec.Struct, frozen=True):
    """An answer's score in [0, 1], and the feedback that decided it."""

    value: float
    feedback_id: UUID


def check(draft: Draft) -> None:
    """Raise Invalid, naming the field, unless the draft is well formed."""
    if draft.kind not in KINDS:
        raise Invalid(
            f"There is no feedback of kind '{draft.kind}'.", param="kind", remedy=f"Kinds: {', '.join(KINDS)}."
        )
    _check_target(draft)
    for part in ("value", "text", "name", "other_inference_id"):
        given, needed = getattr(draft, part) is not None, part in _PARTS[draft.kind]
        if given != needed:
            complaint = f"A {draft.kind} needs '{part}'." if needed else f"A {draft.kind} has no '{part}'."
            needs = ", ".join(sorted(_PARTS[draft.kind]))
            raise Invalid(complaint, param=part, remedy=f"Beside its target it has exactly: {needs}.")
    for part, limit in _LIMITS.items():
        _check_text(getattr(draft, part), part, limit)
    _check_value(draft)


def _check_target(draft: Draft) -> None:
    if (draft.inference_id is None) == (draft.episode_id is None):
        raise Invalid(
            "Feedback is on exactly one of an inference and an episode.",
            param="inference_id",
            remedy="Send either 'inference_id' or 'episode_id'.",
        )
    if draft.kind in _ON_ANSWERS_ALONE and draft.inference_id is None:
        raise Invalid(f"A {draft.kind} is on an inference.", param="inference_id", remedy="Send 'inference_id'.")
    if draft.other_inference_id is not None and draft.other_inference_id == draft.inference_id:
        raise Invalid("An answer is not preferred to itself.", param="other_inference_id", remedy="Name another one.")


def _check_text(text: str | None, param: str, limit: int) -> None:
    if text is None:
        return
    if not 0 < len(text) <= limit or not text.strip():
        raise Invalid(
            f"'{param}' has 1 to {limit:,} characters, not all of them blank.", remedy="Send such a text.", param=param
        )
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid(f"'{param}' holds a character that is no text.", param=param, remedy="Send valid Unicode.")


def _check_value(draft: Draft) -> None:
    value = draft.value
    if value is None:
        return
    if draft.kind == "score" and not 0 <= value <= 1:
        raise Invalid("A score lies between 0 and 1.", param="value", remedy="Scale it: 4 of 1 to 5 stars is 0.75.")
    if draft.kind == "thumb" and value not in (0, 1):
        raise Invalid("A thumb is true (up) or false (down).", remedy="Send true or false.", param="value")
    if not math.isfinite(value):
        raise Invalid("A metric is a finite number.", remedy="Send such a number.", param="value")


def body_hash(draft: Draft) -> bytes:
    """What two requests under one idempotency key must agree in: everything but the key (SHA-256)."""
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(draft, idempotency_key=None))).digest()


def inference_id(text: str, param: str = "inference_id") -> UUID:
    """An inference's id from its UUID or from the id of an OpenAI answer, such as `chatcmpl-<uuid>`."""
    try:
        return UUID(text[-36:])
    except ValueError:
        raise no_such_inference(text[:80], param) from None


def no_such_inference(shown: object, param: str) -> NotFound:
    """The answer to an id that this workspace did not give out, whether another did or nobody."""
    return NotFound(
        f"There is no inference '{shown}' in this workspace.", param=param, remedy="Use the id that the answer had."
    )


def score(signals: Collection[Signal]) -> Score | None:
    """The score of one answer from the feedback on it, in any order; None when nothing in it is a judgement."""
    said = _latest(signals, "thumb", "score")
    if said:
        return Score(said.value or 0.0, said.id)
    correction = _latest(signals, "correction")
    return Score(0.0, correction.id) if correction else None


def lesson(inference: UUID, signals: Collection[Signal]) -> Lesson | None:
    """What the feedback on one inference, in any order, teaches; None when it teaches nothing."""
    correction, thumb = _latest(signals, "correction"), _latest(signals, "thumb")
    if correction:
        return Lesson(correction.id, inference, correction.kind, correction.text, accepted=False)
    if thumb and thumb.value == 1:
        return Lesson(thumb.id, inference, thumb.kind, None, accepted=True)
    return None


def _latest(signals: Collection[Signal], *kinds: Kind) -> Signal | None:
    return max((signal for signal in signals if signal.kind in kinds), key=lambda signal: signal.id, default=None)
