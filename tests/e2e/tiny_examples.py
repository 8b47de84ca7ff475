"""The tiny task's examples in the forms that tests send them in."""

from pathlib import Path
from typing import Any

import msgspec

from charkha.core.messages import Example
from charkha.testing.tiny_training import TinyTask


def questions(task: TinyTask) -> list[Example]:
    """What an application asks to be taught: the training examples without the system prompt, which is the endpoint's."""
    return [msgspec.structs.replace(example, prompt=example.prompt[1:]) for example in _read(task.train)]


def held_out(task: TinyTask) -> list[Example]:
    """What is measured on, as applications ask it."""
    return [msgspec.structs.replace(example, prompt=example.prompt[1:]) for example in _read(task.heldout)]


def as_json(examples: list[Example]) -> list[dict[str, Any]]:
    """Examples as a data set takes them."""
    found: list[dict[str, Any]] = msgspec.to_builtins(examples)
    return found


def _read(path: Path) -> list[Example]:
    return msgspec.json.Decoder(Example).decode_lines(path.read_bytes())
