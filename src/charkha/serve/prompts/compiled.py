"""A version of a prompt as the hot path has it: read once, rendered for each request with the values that it gives.

Pure. The work and the size of what is rendered are known before it is made, so neither can be blown up by a value.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from charkha.core.errors import Invalid
from charkha.serve.prompts.domain import TemplateMessage, Variable, texts
from charkha.serve.prompts.template import Text

MAX_RENDERED_BYTES = 4 * 2**20
_TURN_BYTES = 32  # what a message says in the JSON of a body besides its text
Turn = dict[str, Any]


class Rendered(NamedTuple):
    """What a template says: its system message if it has one, its other turns, and their size in bytes in a body."""

    system: str | None
    turns: list[Turn]
    size: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A version of a prompt, read. `uses` tells how often each value stands in it, `size` how long it is without."""

    version_id: UUID
    name: str
    number: int
    messages: tuple[tuple[str, Text], ...]
    defaults: Mapping[str, str]
    uses: Mapping[str, int]
    size: int

    @classmethod
    def of(
        cls,
        version_id: UUID,
        name: str,
        number: int,
        messages: Sequence[TemplateMessage],
        variables: Sequence[Variable],
    ) -> "Compiled":
        """A version that was checked when it was made."""
        read = texts(messages)
        literals = sum(len(part.encode()) for text in read for part in text.literals)
        return cls(
            version_id,
            name,
            number,
            tuple((each.role, text) for each, text in zip(messages, read, strict=True)),
            {each.name: each.default for each in variables if each.default is not None},
            Counter(used for text in read for used in text.names),
            literals + _TURN_BYTES * len(read),
        )

    def render(self, given: Mapping[str, str], accepted: Collection[str] = ()) -> Rendered:
        """The prompt with its defaults and these values. Raises Invalid naming a value that is missing or unknown.

        `accepted` are names of values that it has no use for and lets pass: those of the other variants of a plan.
        """
        for name in given:
            if name not in self.uses and name not in accepted:
                raise unknown(name, self.reference, self.uses)
        values = {**self.defaults, **given}
        for name in self.uses:
            if name not in values:
                raise Invalid(
                    f"The prompt {self.reference} needs a value for '{name}'.",
                    param=f"variables.{name}",
                    code="missing_variable",
                    remedy=f'Send it in "variables": {{"{name}": "…"}}.',
                )
        return self._filled(values)

    @property
    def reference(self) -> str:
        """`name@number`."""
        return f"{self.name}@{self.number}"

    def _filled(self, values: Mapping[str, str]) -> Rendered:
        size = self.size + sum(len(values[name].encode()) * times for name, times in self.uses.items())
        if size > MAX_RENDERED_BYTES:
            raise Invalid(
                f"The prompt {self.reference} would have {size} bytes with these values; {MAX_RENDERED_BYTES} are let through.",
                param="variables",
                code="prompt_too_large",
                remedy="Send shorter values.",
            )
        said = [(role, text.rendered(values)) for role, text in self.messages]
        system = said.pop(0)[1] if said[0][0] == "system" else None
        return Rendered(system, [{"role": role, "content": content} for role, content in said], size)


def unknown(name: str, reference: str, known: Collection[str]) -> Invalid:
    """The error for a value that no prompt has a use for."""
    return Invalid(
        f"The prompt {reference} has no variable '{name[:64]}'.",
        param=f"variables.{name[:64]}",
        code="unknown_variable",
        remedy=f"It has: {', '.join(known)}." if known else "It has none: leave `variables` out.",
    )
