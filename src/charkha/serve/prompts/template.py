"""The template language: `{{ name }}` is replaced by a value, everything else is text. No logic, no access, no code.

Pure. A text is read once, when it is stored and when the gateway's picture is made; to render it is one pass over its
parts, so what a value holds is never read as template. `{{"{{"}}` writes two braces.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest

from charkha.core.errors import Invalid

OPEN, BRACES = "{{", '{{"{{"}}'
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TAG = re.compile(r'\{\{[ \t]*(?:([A-Za-z_][A-Za-z0-9_]{0,63})|"\{\{")[ \t]*\}\}')
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Text:
    """A text with places for values: `literals[0] names[0] literals[1] names[1] … literals[-1]`."""

    literals: tuple[str, ...]
    names: tuple[str, ...] = ()

    def rendered(self, values: Mapping[str, str]) -> str:
        """The text with every place filled. Raises KeyError for a name without a value."""
        if not self.names:
            return self.literals[0]
        filled = [values[name] for name in self.names]
        return "".join(chain.from_iterable(zip_longest(self.literals, filled, fillvalue="")))


def parse(source: str, param: str) -> Text:
    """The text that `source` says. Raises Invalid, about `param`, for `{{` that opens neither a name nor braces."""
    literals: list[str] = []
    names: list[str] = []
    pieces: list[str] = []
    begun = place = 0
    while (found := source.find(OPEN, place)) >= 0:
        tag = _TAG.match(source, found)
        if tag is None and source.startswith("{", found + 2):  # of a row of braces the last two open
            place = found + 1
            continue
        if tag is None:
            raise _unreadable(source, found, param)
        pieces.append(source[begun:found])
        begun = place = tag.end()
        if tag[1] is None:
            pieces.append(OPEN)
        else:
            literals.append("".join(pieces))
            names.append(tag[1])
            pieces = []
    return Text((*literals, "".join((*pieces, source[begun:]))), tuple(names))


def source(text: Text) -> str:
    """A source that says `text`: the way back."""
    written = [literal.replace(OPEN, BRACES) for literal in text.literals]
    places = [f"{{{{ {name} }}}}" for name in text.names]
    return "".join(chain.from_iterable(zip_longest(written, places, fillvalue="")))


def _unreadable(source: str, found: int, param: str) -> Invalid:
    line = source.count("\n", 0, found) + 1
    seen = source[found : found + _SHOWN].partition("\n")[0]
    return Invalid(
        f"Line {line}: '{seen}' is no variable.",
        param=param,
        code="invalid_template",
        remedy=f"Write {{{{ name }}}} with a name of letters, digits and _, or {BRACES} for two braces.",
    )
