"""Answers that follow a JSON schema or a grammar: which tokens may come next, told by llguidance.

Schemas have passed `engine_schemas` before they come here; llguidance's own limits bound what it does at a step.
"""

import json
from typing import Any

import torch
from torch import Tensor

from charkha.core.errors import Invalid


class Grammars:
    """Makes constraints for one tokenizer, given as its `tokenizer.json` in text; loaded when first asked for."""

    def __init__(self, tokenizer_json: str, vocabulary: int, end: int) -> None:
        self._source, self._vocabulary, self._end = tokenizer_json, vocabulary, end
        self._tokenizer: Any = None

    def json(self, schema: dict[str, Any]) -> "Constraint":
        """The constraint to a JSON schema. Raises Invalid (param response_format) if it cannot be followed."""
        import llguidance

        if self._tokenizer is None:
            self._tokenizer = llguidance.LLTokenizer(self._source, self._vocabulary, self._end)
        options: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        try:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=options)
            matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        except ValueError as error:
            raise _refused(str(error)) from error
        if matcher.is_error():
            raise _refused(matcher.get_error())
        return Constraint(matcher)


class Constraint:
    """Where one answer is in its grammar."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def allowed(self) -> Tensor:
        """Which tokens may come next, bool [vocabulary]; the end token alone when the answer is whole."""
        return torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8) > 0

    def took(self, token: int) -> None:
        """Go on with a token that was allowed."""
        self._matcher.consume_token(token)

    @property
    def finished(self) -> bool:
        """Whether nothing but the end may come."""
        return bool(self._matcher.is_stopped())


def _refused(reason: str) -> Invalid:
    first = reason.strip().split("\n")[0][:300]
    message = f"response_format: the schema cannot be used: {first}."
    return Invalid(message, param="response_format", remedy="Simplify the schema.")
