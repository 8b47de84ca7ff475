"""What every connector gives: a titled, deduplicated, checked set of examples, and how the task is told to a model.

A connector is a module with a `name` and a `load(...) -> Source`. It only reads; it raises `Unavailable` when what it
reads from is not there, and `Invalid` when what it read cannot be used.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from charkha.core.messages import Example, Message
from charkha.data.domain import check, deduplicate

# A longer list of classes costs more tokens on each request than it helps a small model.
_LONGEST_LIST = 600


@dataclass(frozen=True, slots=True)
class Source:
    """Examples ready to split.

    `labels` are the classes in order, empty for free-form answers. `instruction` is the system prompt that goes before
    every prompt, empty where the conversations bring their own; the examples do not hold it. `notes` are sentences
    for the person who looks on.
    """

    title: str
    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    instruction: str
    notes: tuple[str, ...]


def classification_prompt(labels: Sequence[str], noun: str = "") -> str:
    """The system prompt that asks for one of `labels`, as short as a small model on a CPU wants it.

    `noun` says what a class is ("library"). Classes that take too many characters to list are not listed.
    """
    task = f"Classify the text by {noun}." if noun else "Classify the text."
    listed = ", ".join(labels)
    return f"{task} Answer with one of: {listed}." if len(listed) <= _LONGEST_LIST else f"{task} Answer with the class."


def labelled(text: str, label: str) -> Example:
    """The example of a text and its class."""
    return Example(prompt=(Message(role="user", content=text),), answer=label, label=label)


def gather(
    title: str, examples: Iterable[Example], *, instruct: bool, noun: str = "", notes: Sequence[str] = ()
) -> Source:
    """Deduplicate and check examples, and make a Source of them; `instruct` adds a classification prompt.

    Raises Invalid as `charkha.data.domain.check` does.
    """
    unique = deduplicate(examples)
    found = check(unique.examples)
    labels = tuple(label for label, _ in found.classes)
    told = [
        *notes,
        f"{found.examples} examples, {len(labels)} classes, {found.mean_characters:.0f} characters on average.",
    ]
    if unique.repeated:
        told.append(f"{unique.repeated} repeated texts were left out.")
    if unique.contradictory:
        told.append(f"{unique.contradictory} examples whose text came with different labels were left out.")
    instruction = classification_prompt(labels, noun) if instruct and labels else ""
    return Source(title, labels, unique.examples, instruction, tuple(told))
