"""What changed between two versions of a prompt: message by message as unified diffs, and variable by variable. Pure."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from charkha.serve.prompts.domain import PromptVersion, TemplateMessage, Variable

Change = Literal["same", "changed", "added", "removed"]
MAX_LINES = 1_000
"""Of one message. Beyond, lines are not matched, which takes time in proportion to their square, but told as replaced."""


class MessageDiff(msgspec.Struct, frozen=True):
    """One message: its places in both versions (from 1), and a unified diff of its text without a head."""

    change: Change
    role: str
    before: int | None
    after: int | None
    unified: str


class VariableDiff(msgspec.Struct, frozen=True):
    """One variable that is there in both versions but differs, or in one of them alone."""

    change: Change
    name: str
    before: Variable | None
    after: Variable | None


class Difference(msgspec.Struct, frozen=True):
    """From one version of a prompt to another; messages in the order of the newer one, variables by name."""

    before: str
    after: str
    messages: list[MessageDiff]
    variables: list[VariableDiff]


def difference(before: PromptVersion, after: PromptVersion) -> Difference:
    """What has to be done to the one to get the other."""
    return Difference(
        before.reference,
        after.reference,
        list(_messages(before.messages, after.messages)),
        list(_variables(before.variables, after.variables)),
    )


def _messages(old: Sequence[TemplateMessage], new: Sequence[TemplateMessage]) -> Iterator[MessageDiff]:
    same = difflib.SequenceMatcher(None, [*map(_key, old)], [*map(_key, new)], autojunk=False)
    for kind, first, last, begin, end in same.get_opcodes():
        paired = min(last - first, end - begin)
        for step in range(paired):
            yield from _pair(old, new, first + step, begin + step, kind == "equal")
        for place in range(first + paired, last):
            yield _alone("removed", old[place], place)
        for place in range(begin + paired, end):
            yield _alone("added", new[place], place)


def _pair(
    old: Sequence[TemplateMessage], new: Sequence[TemplateMessage], before: int, after: int, same: bool
) -> Iterator[MessageDiff]:
    """Two messages at one place; of different roles they are two messages and not one that changed."""
    if old[before].role != new[after].role:
        yield _alone("removed", old[before], before)
        yield _alone("added", new[after], after)
        return
    unified = _unified(_lines(old[before]), _lines(new[after]))
    yield MessageDiff("same" if same else "changed", new[after].role, before + 1, after + 1, unified)


def _alone(change: Literal["added", "removed"], message: TemplateMessage, place: int) -> MessageDiff:
    added = change == "added"
    lines = _lines(message)
    unified = _unified([] if added else lines, lines if added else [])
    return MessageDiff(change, message.role, None if added else place + 1, place + 1 if added else None, unified)


def _unified(old: Sequence[str], new: Sequence[str]) -> str:
    if max(len(old), len(new)) > MAX_LINES and old != new:
        whole = [f"@@ -1,{len(old)} +1,{len(new)} @@", *(f"-{line}" for line in old), *(f"+{line}" for line in new)]
        return "\n".join(whole)
    return "\n".join([*difflib.unified_diff(old, new, lineterm="")][2:])  # without the names of files


def _lines(message: TemplateMessage) -> list[str]:
    return message.content.split("\n")


def _key(message: TemplateMessage) -> tuple[str, str]:
    return message.role, message.content


def _variables(old: Sequence[Variable], new: Sequence[Variable]) -> Iterator[VariableDiff]:
    before, after = {each.name: each for each in old}, {each.name: each for each in new}
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one != other:
            change: Change = "added" if one is None else "removed" if other is None else "changed"
            yield VariableDiff(change, name, one, other)
