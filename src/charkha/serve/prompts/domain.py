"""Prompts and their versions as values, and what makes them sound. Pure.

A prompt is a name for numbered versions; a version never changes. Its messages are templates; a system message stands
first if there is one.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.errors import Invalid
from charkha.serve.prompts import template
from charkha.serve.prompts.template import Text

ROLES = ("system", "user", "assistant")
MAX_MESSAGES, MAX_VARIABLES, MAX_TEMPLATE_BYTES, MAX_TEXT = 64, 64, 256 * 2**10, 2_000
MAX_DEFAULT_BYTES = 16 * 2**10

_PROMPT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_REFERENCE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})(?:@([1-9][0-9]{0,8}))?")


class TemplateMessage(msgspec.Struct, frozen=True):
    """One message of a template: `role` is system, user or assistant."""

    role: str
    content: str


class Variable(msgspec.Struct, frozen=True):
    """A value that a request gives by name. Without a `default` it has to."""

    name: str
    default: str | None = None
    description: str = ""


class TestSummary(msgspec.Struct, frozen=True):
    """How the last run of a version's tests ended."""

    id: UUID
    model: str
    passed: int
    failed: int
    created_at: datetime


class PromptVersion(msgspec.Struct, frozen=True):
    """One immutable version of a prompt; `reference` is `name@number`, which variants name it by."""

    id: UUID
    prompt_id: UUID
    reference: str
    number: int
    messages: list[TemplateMessage]
    variables: list[Variable]
    note: str
    author: str
    created_at: datetime | None = None
    last_test: TestSummary | None = None


class Prompt(msgspec.Struct, frozen=True):
    """A prompt: its newest version's number, and that version where one prompt was asked for. `tests`: see Case."""

    id: UUID
    name: str
    description: str
    newest: int
    created_at: datetime | None = None
    version: PromptVersion | None = None
    tests: list[dict[str, Any]] = []


def check_prompt(name: str, description: str) -> None:
    """Raise Invalid for a name that could not be referred to, or an endless description."""
    if not _PROMPT_NAME.fullmatch(name) or _UUID.fullmatch(name):
        raise Invalid(
            f"'{name[:64]}' is no name for a prompt.",
            param="name",
            remedy="Use 1 to 64 letters, digits, '.', '_' and '-', not an id; begin with a letter or digit.",
        )
    check_text(description, "description")


def check_text(text: str, param: str) -> None:
    """Raise Invalid for a note or description that is endless or cannot be stored."""
    if len(text) > MAX_TEXT or "\0" in text:
        raise Invalid(f"'{param}' is text of at most {MAX_TEXT} characters.", param=param, remedy="Say it shorter.")


def reference(text: str) -> tuple[str, int | None]:
    """The name and number in `name@number`; without a number the newest is meant. Raises Invalid."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise Invalid(
            f"'{text[:80]}' names no version of a prompt.", param="prompt", remedy="Write name@number, as greeting@3."
        )
    return found[1], int(found[2]) if found[2] else None


def texts(messages: Sequence[TemplateMessage]) -> list[Text]:
    """The messages' contents, read. Raises Invalid naming the message whose template cannot be read."""
    return [template.parse(each.content, f"messages[{place}].content") for place, each in enumerate(messages)]


def checked(messages: Sequence[TemplateMessage], variables: Sequence[Variable] | None) -> list[Variable]:
    """The variables of a version: as declared, else as the template names them. Raises Invalid for what is unsound."""
    _check_messages(messages)
    used = list(dict.fromkeys(name for text in texts(messages) for name in text.names))
    if len(used) > MAX_VARIABLES:
        raise Invalid(
            f"A template has at most {MAX_VARIABLES} variables, not {len(used)}.",
            param="messages",
            remedy="Use fewer.",
        )
    if variables is None:
        return [Variable(name) for name in used]
    _check_variables(variables, used)
    return list(variables)


def _check_messages(messages: Sequence[TemplateMessage]) -> None:
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise Invalid(f"A prompt has 1 to {MAX_MESSAGES} messages.", param="messages", remedy="Send at least one.")
    for place, each in enumerate(messages):
        if each.role not in ROLES or (each.role == "system" and place):
            raise Invalid(
                f"Message {place + 1} cannot have the role '{each.role[:40]}'.",
                param=f"messages[{place}].role",
                remedy="Roles are user, assistant and, for the first message alone, system.",
            )
        if "\0" in each.content:
            raise Invalid(
                "A template holds no NUL characters.", param=f"messages[{place}].content", remedy="Leave them out."
            )
    if sum(len(each.content.encode()) for each in messages) > MAX_TEMPLATE_BYTES:
        raise Invalid(
            f"A template has at most {MAX_TEMPLATE_BYTES} bytes.", param="messages", remedy="Give a shorter one."
        )


def _check_variables(variables: Sequence[Variable], used: Sequence[str]) -> None:
    declared = [each.name for each in variables]
    for each in variables:
        if declared.count(each.name) > 1:
            raise Invalid(f"'{each.name[:64]}' is declared twice.", param="variables", remedy="Declare it once.")
        if each.name not in used:
            raise Invalid(
                f"'{each.name[:64]}' is declared, but the template has no {{{{ {each.name[:64]} }}}}.",
                param="variables",
                remedy="Use it in a message, or do not declare it.",
            )
        if each.default is not None and (len(each.default.encode()) > MAX_DEFAULT_BYTES or "\0" in each.default):
            raise Invalid(
                f"The default of '{each.name}' is text of at most {MAX_DEFAULT_BYTES} bytes.",
                param="variables",
                remedy="Give a shorter one.",
            )
        check_text(each.description, "variables.description")
    if missing := [name for name in used if name not in declared]:
        raise Invalid(
            f"The template has {{{{ {missing[0]} }}}}, which is not declared.",
            param="variables",
            remedy="Declare it, or leave `variables` out: then they are found in the template.",
        )
