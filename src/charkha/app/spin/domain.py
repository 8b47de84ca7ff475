"""What a turn is made of: how a source is split, how an answer is judged, how long an answer may be. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from charkha.core.errors import Invalid
from charkha.core.messages import Example, Message
from charkha.data.connectors.source import Source
from charkha.data.domain import fitting_sizes, split
from charkha.evaluate import scoring

TRAIN, HELD_OUT, FEWEST_LIVE, MOST_LIVE = 600, 200, 0.2, 5000
_TURN_SECONDS, _REST_SECONDS, _LEAST_TRAINING, _MOST_TRAINING = 480.0, 90.0, 100.0, 240.0
_LONGEST_ANSWER = 128


@dataclass(frozen=True)
class Portions:
    """Three sets that share no text: to learn from, to measure on, and the traffic that judges the rollout."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    live: tuple[Example, ...]


def portions(source: Source, *, train: int = TRAIN, held_out: int = HELD_OUT, seed: int = 0) -> Portions:
    """Split a source in three. A fifth, and more of a large source, is kept for live traffic."""
    available = len(source.examples)
    classes = max(len(source.labels), 1)
    reserved = max(classes, round(available * FEWEST_LIVE))
    sizes = fitting_sizes(available - reserved, classes, train, held_out)
    if min(sizes) < classes:
        raise Invalid(
            f"{available} different examples of {classes} classes are too few for a turn.",
            remedy="Give at least 15 different examples of each class.",
            code="too_few_examples",
        )
    parts = split(source.examples, train=sizes[0], test=sizes[1], seed=seed)
    return Portions(parts.train, parts.test, parts.rest[:MOST_LIVE])


def longest_answer(examples: Sequence[Example]) -> int:
    """Tokens to allow for an answer of the demonstration: what evaluations allow, and no long ones."""
    return min(_LONGEST_ANSWER, scoring.most_tokens(examples))


def held_out_line(source: Source, example: Example) -> dict[str, Any]:
    """A held-out example as the data set keeps it, with the instruction that the endpoint puts before the prompt."""
    prompt = example.prompt
    if source.instruction:
        prompt = (Message(role="system", content=source.instruction), *prompt)
    return {
        "prompt": [message.as_dict() for message in prompt],
        "answer": example.answer,
        "label": example.label,
        "subject_id": example.subject_id,
    }


def training_seconds(scored_in: float) -> float:
    """Seconds for training that keep a turn near eight minutes, by how long the base model took to be scored.

    Before training come that scoring and the traffic, about twice as long; after it the candidate's scoring. Loading
    and the rollout take about a minute and a half. On slow machines and long texts training keeps a fair share.
    """
    left = _TURN_SECONDS - 4 * scored_in - _REST_SECONDS
    return max(_LEAST_TRAINING, min(_MOST_TRAINING, left))


def score(answer: str, wanted: str, *, graded: bool) -> float:
    """How right an answer is, in [0, 1], as evaluations see it: equal or not, or where `graded` the F1 of its words."""
    return scoring.score("token_f1" if graded else "exact_match", answer, wanted)


def endpoint_name(title: str, taken: Sequence[str]) -> str:
    """A name for the endpoint: the title in letters that every client accepts, numbered if it is taken."""
    stem = re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:40] or "task"
    return next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 10_000))) if name not in taken)
