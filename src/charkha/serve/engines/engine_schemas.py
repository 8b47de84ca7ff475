"""Which JSON schemas may constrain an answer: small ones, whose grammar an engine can build quickly and in little memory.

Pure judgement. llama.cpp turns a schema into a grammar by recursion, and repetition counts into rules: depth, size,
counts and patterns are bounded here, before native code sees them.
"""

from typing import Any, Final

import msgspec

from charkha.core.errors import Invalid

MAX_BYTES: Final = 32_768
MAX_DEPTH: Final = 16
MAX_NODES: Final = 1_000
MAX_COUNT: Final = 1_024
MAX_PATTERN: Final = 128

_COUNTS: Final = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})


def check_schema(schema: dict[str, Any]) -> None:
    """Raise Invalid (param response_format) that says which bound the schema breaks."""
    if len(msgspec.json.encode(schema)) > MAX_BYTES:
        _refuse(f"it has more than {MAX_BYTES} bytes")
    nodes = 0
    waiting: list[tuple[Any, int]] = [(schema, 1)]
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            _refuse(f"it is deeper than {MAX_DEPTH} levels or has more than {MAX_NODES} parts")
        if isinstance(node, dict):
            _check_keywords(node)
            waiting += [(value, depth + 1) for value in node.values()]
        elif isinstance(node, list):
            waiting += [(value, depth + 1) for value in node]


def _check_keywords(node: dict[str, Any]) -> None:
    for key, value in node.items():
        if key in _COUNTS and isinstance(value, int | float) and not 0 <= value <= MAX_COUNT:
            _refuse(f"its {key} is not from 0 to {MAX_COUNT}")
        if key == "$ref" and isinstance(value, str) and not value.startswith("#"):
            _refuse("it refers to another document")
        if key == "pattern" and isinstance(value, str):
            _check_pattern(value)


def _check_pattern(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN or pattern.count("(") > 8 or pattern.count("{") > 4:
        _refuse(f"its pattern is longer than {MAX_PATTERN} characters or nested too much")
    if any(len(digits) > 3 for digits in "".join(c if c.isdigit() else " " for c in pattern).split()):
        _refuse("its pattern repeats a part too often")


def _refuse(reason: str) -> None:
    raise Invalid(
        f"response_format: the schema cannot be used: {reason}.", param="response_format", remedy="Simplify the schema."
    )
