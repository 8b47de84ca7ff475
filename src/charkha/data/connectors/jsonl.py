"""Anybody's file of JSON lines: one example a line, as texts with labels, conversations, or prompts with completions.

    {"input": "…", "label": "spam"}                    also "text" or "prompt"; labels: text, whole numbers, true/false
    {"messages": [{"role": "user", "content": "…"}, …, {"role": "assistant", "content": "…"}]}
    {"prompt": "…", "completion": "…"}                 also "input" or "text" with "output" or "answer"

Owns the boundary to files that people give: bounded in bytes, strict in content, and each refusal names the line and
what to do. A byte order mark, Windows line ends and blank lines do no harm; other fields are ignored.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from charkha.core.errors import Invalid, NotFound, TooLarge
from charkha.core.messages import Example, Message
from charkha.data.connectors.source import Source, gather, labelled

name = "jsonl"

LARGEST_FILE = 256 << 20
LONGEST_LINE = 1 << 20

_TEXT_FIELDS = ("input", "text", "prompt")
_ANSWER_FIELDS = ("completion", "output", "answer")
# Free answers count as classes when they are short and keep coming back.
_LONGEST_CLASS = 60
_TIMES_SEEN = 5
_SHAPES = 'Give {"input", "label"}, {"messages"} or {"prompt", "completion"} on each line.'


class _Bad(Exception):
    """What is wrong with a line, and the remedy; the reader adds the line's number."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def load(file: Path) -> Source:
    """Read a file. Raises NotFound, TooLarge, or Invalid naming the line; and Invalid if it cannot teach anything."""
    try:
        with file.open("rb") as stream:
            return read(stream, title=file.name)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"There is no file {file}.", remedy="Check the path.", param="dataset") from error
    except PermissionError as error:
        raise Invalid(f"The file {file} may not be read.", remedy="Allow reading it.", param="dataset") from error


def read(stream: BinaryIO, title: str) -> Source:
    """Read an open binary file; as `load`."""
    examples: list[Example] = []
    shape = ""
    for number, line in _lines(stream):
        try:
            this, example = _row(line)
            if shape and this != shape:
                raise _Bad(f"has the form {this}, lines before have {shape}", "Use one form in the whole file.")
        except _Bad as bad:
            raise Invalid(f"Line {number} {bad.problem}.", remedy=bad.remedy, param="dataset") from bad
        shape = this
        examples.append(example)
    if shape != "label":
        examples = _closed(examples)
    return gather(title, examples, instruct=shape != "messages")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that hold something, without marks and line ends; bounded in length and in all."""
    total, number = 0, 0
    while line := stream.readline(LONGEST_LINE + 1):
        total, number = total + len(line), number + 1
        if len(line) > LONGEST_LINE:
            raise TooLarge(f"Line {number} is longer than 1 MiB.", remedy="Split it into shorter examples.")
        if total > LARGEST_FILE:
            raise TooLarge("The file is larger than 256 MiB.", remedy="Give a sample of it.")
        if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Invalid("The file is in UTF-16.", remedy="Save it as UTF-8.", param="dataset")
        content = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()
        if content:
            yield number, content


def _row(line: bytes) -> tuple[str, Example]:
    """The form of a line (label, messages or completion) and its example."""
    row = _decoded(line)
    if "messages" in row:
        return "messages", _conversation(row["messages"])
    text = next((field for field in _TEXT_FIELDS if field in row), None)
    if text is None:
        raise _Bad("has none of the fields input, text, prompt, messages", _SHAPES)
    if "label" in row:
        return "label", labelled(_text(row[text], text), _label(row["label"]))
    answer = next((field for field in _ANSWER_FIELDS if field in row), None)
    if answer is None:
        raise _Bad(f"has '{text}' but no label, completion, output or answer", _SHAPES)
    prompt = Message(role="user", content=_text(row[text], text))
    return "completion", Example(prompt=(prompt,), answer=_text(row[answer], answer))


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except UnicodeDecodeError as error:
        raise _Bad("is not UTF-8", "Save the file as UTF-8.") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _Bad(f"is not JSON: {error}", "Write one whole JSON object on each line.") from error
    if not isinstance(row, dict):
        raise _Bad("is no JSON object", "Write one JSON object on each line, not a list of them.")
    return row


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise _Bad(f"has a '{field}' that is no text", f"Make '{field}' a string.")
    if not value.strip():
        raise _Bad(f"has an empty '{field}'", "Fill it in or leave the line out.")
    return value.strip()


def _label(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise _Bad("has a label that is neither text nor a whole number nor true/false", "Name the class by a string.")
    return _text(value, "label")


def _conversation(value: object) -> Example:
    remedy = 'Give messages of {"role": "system" | "user" | "assistant", "content": "text"}, the answer last.'
    try:
        messages = msgspec.convert(value, tuple[Message, ...])
    except msgspec.ValidationError as error:
        raise _Bad(f"has messages that cannot be read: {error}", remedy) from error
    if not messages or messages[-1].role != "assistant":
        raise _Bad("does not end with an assistant message", remedy)
    if all(message.role != "user" for message in messages):
        raise _Bad("has no user message", remedy)
    return Example(prompt=messages[:-1], answer=_text(messages[-1].content, "content"))


def _closed(examples: list[Example]) -> list[Example]:
    """The same examples with their answers as labels, if these are few, short and recurring; else as they are."""
    counts = Counter(example.answer for example in examples)
    few = len(counts) * _TIMES_SEEN <= len(examples)
    if not few or max(map(len, counts), default=0) > _LONGEST_CLASS:
        return examples
    return [msgspec.structs.replace(example, label=example.answer) for example in examples]
