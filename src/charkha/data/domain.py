"""Judgement on examples: which are the same, which contradict, how they are split, and whether they can teach anything.

Pure. Two examples are the same when what was said before the answer is the same, system prompts apart, after
normalisation: case, spacing and Unicode compatibility forms do not make a new text.
"""

import hashlib
import heapq
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from charkha.core.errors import Invalid
from charkha.core.messages import Example

MINIMUM_PER_CLASS = 4
LONGEST_EXAMPLE = 16_000


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """What is left: `repeated` examples said the same again, `contradictory` ones gave one text several labels."""

    examples: tuple[Example, ...]
    repeated: int
    contradictory: int


@dataclass(frozen=True, slots=True)
class Split:
    """Two sets that share no text, and what neither took."""

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    rest: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of examples and of each class (labels in order), and lengths with the answer in characters."""

    examples: int
    unlabelled: int
    classes: tuple[tuple[str, int], ...]
    mean_characters: float
    longest_characters: int


def normalise(text: str) -> str:
    """The text as compared: Unicode compatibility caseless matching (Unicode standard, D146), runs of space made one."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", text).casefold())
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", folded.casefold())).split())


def fingerprint(example: Example) -> str:
    """Hex digest of the normalised conversation before the answer, without system prompts unless there is nothing else.

    So an example from live traffic, where an endpoint's prompt was put before it, is known again in a held-out set.
    """
    spoken = [message for message in example.prompt if message.role != "system"] or example.prompt
    told = msgspec.json.encode([(message.role, normalise(message.content)) for message in spoken])
    return hashlib.sha256(told).hexdigest()


def deduplicate(examples: Iterable[Example]) -> Deduplicated:
    """Keep the first of each text, in order; drop every example of a text that came with different labels."""
    grouped: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        grouped[fingerprint(example)].append(example)
    agreed = [group for group in grouped.values() if len({example.label for example in group}) == 1]
    total, consistent = sum(map(len, grouped.values())), sum(map(len, agreed))
    return Deduplicated(tuple(group[0] for group in agreed), consistent - len(agreed), total - consistent)


def without(examples: Iterable[Example], held_out: Iterable[Example]) -> tuple[Example, ...]:
    """The examples whose text is not among `held_out`: what may be trained on without leakage."""
    kept_aside = {fingerprint(example) for example in held_out}
    return tuple(example for example in examples if fingerprint(example) not in kept_aside)


def statistics(examples: Sequence[Example]) -> Statistics:
    """Figures of a set of examples; all zero for an empty one."""
    classes = Counter(example.label for example in examples if example.label is not None)
    lengths = [_length(example) for example in examples]
    return Statistics(
        examples=len(examples),
        unlabelled=len(examples) - classes.total(),
        classes=tuple(sorted(classes.items())),
        mean_characters=sum(lengths) / len(lengths) if lengths else 0.0,
        longest_characters=max(lengths, default=0),
    )


def told(found: Statistics) -> dict[str, Any]:
    """Statistics as a version's report has them: classes as counts by label, lengths in whole characters."""
    return {
        "classes": dict(found.classes),
        "unlabelled": found.unlabelled,
        "mean_characters": round(found.mean_characters),
        "longest_characters": found.longest_characters,
    }


def check(
    examples: Sequence[Example], *, per_class: int = MINIMUM_PER_CLASS, longest: int = LONGEST_EXAMPLE
) -> Statistics:
    """Refuse what cannot be learned from: raise Invalid for nothing, one class, too few of one, or an over-long example."""
    found = statistics(examples)
    if not examples:
        raise Invalid(
            "There are no examples.", remedy="Give at least two classes with a few examples each.", code="empty"
        )
    if found.longest_characters > longest:
        place = next(place for place, example in enumerate(examples, 1) if _length(example) > longest)
        raise Invalid(
            f"Example {place} has {_length(examples[place - 1]):,} characters, more than {longest:,}.",
            remedy="Shorten it or leave it out.",
            code="example_too_long",
        )
    if found.classes:
        _check_classes(found, per_class)
    return found


def _check_classes(found: Statistics, per_class: int) -> None:
    if len(found.classes) == 1 and not found.unlabelled:
        raise Invalid(
            f"Every example has the label '{found.classes[0][0]}'.",
            remedy="Give examples of at least two classes.",
            code="single_class",
        )
    rare = [f"'{label}' ({count})" for label, count in found.classes if count < per_class]
    if rare:
        raise Invalid(
            f"Too few examples of {len(rare)} of {len(found.classes)} classes: {', '.join(rare[:5])}.",
            remedy=f"Give at least {per_class} different texts of each class, or leave the class out.",
            code="too_few_per_class",
        )


def check_labels_seen(train: Iterable[Example], test: Iterable[Example]) -> None:
    """Raise Invalid if `test` has labels that `train` never shows: they could not be learned."""
    unseen = {example.label for example in test if example.label} - {example.label for example in train}
    if unseen:
        raise Invalid(
            f"Labels never seen in training: {', '.join(sorted(filter(None, unseen))[:5])}.",
            remedy="Add training examples of them, or take them out of the test set.",
            code="labels_unseen",
        )


def fitting_sizes(available: int, classes: int, train: int, test: int) -> tuple[int, int]:
    """(train, test) as asked where they fit; otherwise all examples, shared in the same proportion, a test of each class."""
    if train + test <= available:
        return train, test
    smaller = max(classes, 1, round(available * test / (train + test)))
    return max(0, available - smaller), min(available, smaller)


def split(examples: Sequence[Example], *, test: int, train: int | None = None, seed: int = 0) -> Split:
    """Split into exactly `test` and `train` examples (None: all others), each class in proportion and in both.

    Which examples go where follows from a hash of their text and the seed alone, not from their order. Raises
    Invalid if a text occurs twice, if there are too few examples, or a set is too small to show each class.
    """
    ranked = _ranked(examples, seed)
    counts = Counter(example.label for example in ranked)
    wanted = len(ranked) - test if train is None else train
    _check_sizes(len(ranked), counts, test, wanted)
    in_test = apportion({label: count - 1 for label, count in counts.items()}, test)
    in_train = apportion({label: count - in_test[label] for label, count in counts.items()}, wanted)
    parts: tuple[list[Example], list[Example], list[Example]] = ([], [], [])
    taken: Counter[str | None] = Counter()
    for example in ranked:
        place, quota = taken[example.label], in_test[example.label]
        parts[0 if place < quota else 1 if place < quota + in_train[example.label] else 2].append(example)
        taken[example.label] += 1
    return Split(train=tuple(parts[1]), test=tuple(parts[0]), rest=tuple(parts[2]))


def _ranked(examples: Sequence[Example], seed: int) -> list[Example]:
    keyed = {hashlib.sha256(f"{seed}:{fingerprint(example)}".encode()).digest(): example for example in examples}
    if len(keyed) < len(examples):
        raise Invalid(
            "Some texts occur more than once.", remedy="Remove duplicates before splitting.", code="duplicates"
        )
    return [keyed[key] for key in sorted(keyed)]


def _check_sizes(available: int, counts: Mapping[str | None, int], test: int, train: int) -> None:
    if min(test, train) < len(counts) or test + train > available or min(counts.values(), default=2) < 2:
        raise Invalid(
            f"{available} examples of {len(counts)} classes cannot give {train} for training and {test} for the test.",
            remedy=f"Both need one of each class ({len(counts)}): ask for fewer examples or give more.",
            code="split_impossible",
        )


def apportion(counts: Mapping[str | None, int], size: int) -> dict[str | None, int]:
    """Share `size` seats in proportion to `counts`, at least one and at most its count for each.

    Sainte-Laguë's method: each seat goes to the highest count / (2 · seats + 1), ties to the first in `counts`.
    `size` lies between the number of classes and the sum of the counts.
    """
    seats = dict.fromkeys(counts, 1)
    queue = [(-count / 3, place, label) for place, (label, count) in enumerate(counts.items()) if count > 1]
    heapq.heapify(queue)
    for _ in range(size - len(seats)):
        _, place, label = heapq.heappop(queue)
        seats[label] += 1
        if seats[label] < counts[label]:
            heapq.heappush(queue, (-counts[label] / (2 * seats[label] + 1), place, label))
    return seats


def canonical(examples: Iterable[Example]) -> bytes:
    """The bytes of a data set version: one JSON line an example, ordered by the SHA-256 of the line.

    The same examples give the same bytes in whatever order they come, and any prefix is a fair sample of them.
    """
    lines = [msgspec.json.encode(example) + b"\n" for example in examples]
    return b"".join(sorted(lines, key=lambda line: (hashlib.sha256(line).digest(), line)))


def digest(content: bytes) -> str:
    """What a data set version is called by its content: the SHA-256 of its canonical bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def parse(content: bytes) -> tuple[Example, ...]:
    """The examples in canonical bytes, in their order. Raises Invalid with the number of the line that is wrong."""
    return tuple(_example(line, number) for number, line in enumerate(content.splitlines(), 1))


def excerpt(lines: Sequence[bytes], *, offset: int, limit: int, text: str = "") -> tuple[Example, ...]:
    """At most `limit` examples of canonical lines from place `offset` on, in their order.

    With `text`, of those alone that say it somewhere, in any case: in a message, the answer or the label.
    """
    if not text:
        return tuple(_example(line, number) for number, line in enumerate(lines[offset : offset + limit], offset + 1))
    numbered = enumerate(lines, 1)
    wanted = text.casefold()
    written = msgspec.json.encode(text).decode()[1:-1].casefold()  # as lines have it: most are told without parsing
    candidates = (_example(line, number) for number, line in numbered if _may_say(line, written))
    return tuple(islice((each for each in candidates if _says(each, wanted)), offset, offset + limit))


def _may_say(line: bytes, written: str) -> bool:
    """Whether a case-folded text stands in a line; most lines are ASCII, where that is told ten times as fast."""
    if line.isascii():
        return written.isascii() and written.encode() in line.lower()
    return written in line.decode().casefold()


def _says(example: Example, wanted: str) -> bool:
    said = (*(message.content for message in example.prompt), example.answer, example.label or "")
    return any(wanted in each.casefold() for each in said)


def _example(line: bytes, number: int) -> Example:
    try:
        return msgspec.json.decode(line, type=Example)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"Line {number} is no example: {error}.", remedy="Write the data set version anew.") from error


def _length(example: Example) -> int:
    return sum(len(message.content) for message in example.prompt) + len(example.answer)
