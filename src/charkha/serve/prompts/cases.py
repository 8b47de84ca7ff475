"""Tests of a prompt as values: cases with values and messages, and what their answers are expected to be. Pure.

What an answer holds, says and measures is looked at here; patterns and schemas, which can take for ever, in `judging`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.errors import Invalid
from charkha.serve.prompts.domain import TemplateMessage

MAX_CASES, MAX_EXPECTATIONS, MAX_PATTERN, MAX_BYTES = 100, 20, 1_000, 256 * 2**10
_SHOWN = 80


class Expectation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that an answer is expected to be: exactly one field says which.

    `contains`, `not_contains` and `equals` compare text as it is, `equals` but for space around it. `regex` is
    Python's, and is searched for. `json_schema` wants the whole answer to be JSON of that schema. `max_tokens` and
    `max_characters` bound its length.
    """

    contains: str | None = None
    not_contains: str | None = None
    equals: str | None = None
    regex: str | None = None
    json_schema: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_characters: int | None = None

    def chosen(self) -> list[str]:
        """The fields that are set."""
        return [name for name in self.__struct_fields__ if getattr(self, name) is not None]


class Case(msgspec.Struct, frozen=True, omit_defaults=True):
    """One test: the prompt is rendered with `variables`, `messages` follow it, and the answer meets every expectation."""

    name: str
    variables: dict[str, str] = {}
    messages: list[TemplateMessage] = []
    expect: list[Expectation] = []


class Said(msgspec.Struct, frozen=True):
    """An answer, how many tokens it has where that was counted, and the inference that it is."""

    text: str
    tokens: int | None = None
    inference_id: UUID | None = None


class CaseResult(msgspec.Struct, frozen=True):
    """What became of a case. `reasons` say why it failed; `answer` is None where there was none."""

    name: str
    passed: bool
    reasons: list[str]
    answer: str | None
    inference_id: UUID | None
    duration_ms: float


class TestRun(msgspec.Struct, frozen=True):
    """One run of all tests on a version, answered by `model`."""

    id: UUID
    prompt_version_id: UUID
    model: str
    passed: int
    failed: int
    results: list[CaseResult]
    author: str
    created_at: datetime | None = None


def check_cases(cases: Sequence[Case]) -> None:
    """Raise Invalid naming the first case that could not be run, or could not be judged."""
    if len(cases) > MAX_CASES:
        raise Invalid(f"A prompt has at most {MAX_CASES} tests.", param="tests", remedy="Keep the ones that tell most.")
    encoded = msgspec.json.encode(cases)
    if len(encoded) > MAX_BYTES or b"\\u0000" in encoded:
        raise Invalid(
            f"Tests have at most {MAX_BYTES} bytes and hold no NUL characters.", param="tests", remedy="Shorten them."
        )
    for place, case in enumerate(cases):
        _check_case(case, f"tests[{place}]")
    names = [case.name for case in cases]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Invalid(f"Two tests are called '{twice}'.", param="tests", remedy="Give each its own name.")


def _check_case(case: Case, param: str) -> None:
    if not 1 <= len(case.name) <= 200 or not case.name.isprintable():
        raise Invalid("A test has a name of 1 to 200 printable characters.", param=f"{param}.name", remedy="Name it.")
    if not 1 <= len(case.expect) <= MAX_EXPECTATIONS:
        raise Invalid(
            f"The test '{case.name}' expects 1 to {MAX_EXPECTATIONS} things.",
            param=f"{param}.expect",
            remedy="Say what its answer has to be.",
        )
    for each in case.messages:
        if each.role not in ("system", "user", "assistant"):
            raise Invalid(
                f"A message of '{case.name}' has the role '{each.role[:40]}'.",
                param=f"{param}.messages",
                remedy="Roles are system, user and assistant.",
            )
    for number, expected in enumerate(case.expect):
        _check_expectation(expected, f"{param}.expect[{number}]")


def _check_expectation(each: Expectation, param: str) -> None:
    chosen = each.chosen()
    if len(chosen) != 1:
        known = ", ".join(Expectation.__struct_fields__)
        raise Invalid("An expectation has exactly one field.", param=param, remedy=f"Choose one of {known}.")
    if chosen[0].startswith("max_") and getattr(each, chosen[0]) < 1:
        raise Invalid(f"'{chosen[0]}' is at least 1.", param=param, remedy="Give a greater number.")
    if each.regex is not None:
        _check_pattern(each.regex, param)


def _check_pattern(pattern: str, param: str) -> None:
    """To compile a short pattern takes no time, whatever it says; to search with it may, and is done elsewhere."""
    try:
        if len(pattern) > MAX_PATTERN:
            raise ValueError(f"it has more than {MAX_PATTERN} characters")
        re.compile(pattern)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise Invalid(f"The regex cannot be used: {error}.", param=param, remedy="Write it as Python's re.") from error


def is_simple(each: Expectation) -> bool:
    """Whether it is judged in time proportional to the answer."""
    return each.regex is None and each.json_schema is None


def unmet(expected: Iterable[Expectation], said: Said) -> list[str]:
    """Why an answer fails those expectations that are simple; empty where it meets them."""
    return [reason for each in expected if is_simple(each) and (reason := _reason(each, said))]


def _reason(each: Expectation, said: Said) -> str | None:
    (field,) = each.chosen()
    met, reason = _JUDGES[field](getattr(each, field), said)
    return None if met else reason


_JUDGES: Mapping[str, Callable[[Any, Said], tuple[bool, str]]] = {
    "contains": lambda wanted, said: (wanted in said.text, f"does not contain {_quoted(wanted)}"),
    "not_contains": lambda wanted, said: (wanted not in said.text, f"contains {_quoted(wanted)}"),
    "equals": lambda wanted, said: (wanted.strip() == said.text.strip(), f"is not {_quoted(wanted)}"),
    "max_tokens": lambda wanted, said: (
        said.tokens is not None and said.tokens <= wanted,
        "its tokens were not counted" if said.tokens is None else f"has {said.tokens} tokens, more than {wanted}",
    ),
    "max_characters": lambda wanted, said: (
        len(said.text) <= wanted,
        f"has {len(said.text)} characters, more than {wanted}",
    ),
}


def _quoted(text: Any) -> str:
    whole = str(text)
    return f"“{whole}”" if len(whole) <= _SHOWN else f"“{whole[:_SHOWN]}…”"
