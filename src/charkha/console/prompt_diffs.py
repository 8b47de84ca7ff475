"""Unified diffs of prompts as pages show them: line by line, or the two texts beside each other. Pure."""

from typing import NamedTuple


class Line(NamedTuple):
    """One line: `kind` is added, removed, same or place (where the lines that follow stand)."""

    kind: str
    text: str


class Row(NamedTuple):
    """A line of each text at one height; None where the other one has more."""

    before: Line | None
    after: Line | None


_KINDS = {"+": "added", "-": "removed", "@": "place", " ": "same"}


def lines(unified: str) -> list[Line]:
    """The lines of a diff."""
    return [Line(_KINDS.get(line[:1], "same"), line if line[:1] == "@" else line[1:]) for line in _split(unified)]


def rows(unified: str) -> list[Row]:
    """The same beside each other: lines that were removed face those that were added in their place."""
    found: list[Row] = []
    old: list[Line] = []
    new: list[Line] = []
    for line in lines(unified):
        if line.kind == "removed":
            old.append(line)
        elif line.kind == "added":
            new.append(line)
        else:
            found += [*_facing(old, new), Row(line, line)]
            old, new = [], []
    return [*found, *_facing(old, new)]


def _facing(old: list[Line], new: list[Line]) -> list[Row]:
    height = max(len(old), len(new))
    return [
        Row(old[place] if place < len(old) else None, new[place] if place < len(new) else None)
        for place in range(height)
    ]


def _split(unified: str) -> list[str]:
    return unified.split("\n") if unified else []
