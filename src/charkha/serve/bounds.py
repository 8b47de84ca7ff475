"""How many tokens a request can cost at most, so that its limits can reserve them, and how many it did.

Pure. Every tokeniser that engines use makes at most one token of a byte, and a body names each thing in more bytes than
a chat template adds for it; what a template adds by itself is allowed for.
"""

from typing import Any, NamedTuple

from charkha.core.records import Operation
from charkha.serve.recording import Outcome

TEMPLATE_TOKENS = 256
DEFAULT_COMPLETION_TOKENS = 4_096
"""What an answer may have where limits of tokens or money hold and the request does not say; the engine is told so."""

_ASKED = {"chat": "max_completion_tokens", "completion": "max_tokens"}


class Bound(NamedTuple):
    """The most tokens that a request can read and write."""

    prompt: int
    completion: int


def bound(body: dict[str, Any], operation: Operation, size: int, system_prompt: str | None, *, spends: bool) -> Bound:
    """The bound of a request whose body came in `size` bytes. Where it `spends` what is limited, `body` is capped."""
    prompt = size + TEMPLATE_TOKENS + (len(system_prompt.encode()) if system_prompt else 0)
    field = _ASKED.get(operation)
    if field is None:
        return Bound(prompt, 0)
    asked = max(body.get("max_tokens", 0), body.get("max_completion_tokens", 0))
    if not asked:
        asked = DEFAULT_COMPLETION_TOKENS
        if spends:
            body[field] = asked
    return Bound(prompt, asked * max(body.get("n", 1), body.get("best_of", 1)) * _prompts(body))


def used(outcome: Outcome, most: Bound) -> Bound:
    """What a request that has ended is charged for.

    What the engine counted, where it told; nothing where it never answered; for a stream that was cut, the tokens that
    came through and all that the prompt can have been; for an answer without a count, the bound.
    """
    if outcome.prompt_tokens is not None:
        return Bound(outcome.prompt_tokens, outcome.completion_tokens or 0)
    if not outcome.answered:
        return Bound(0, 0)
    if outcome.status != 200:
        return Bound(most.prompt, min(outcome.streamed, most.completion))
    return most


def _prompts(body: dict[str, Any]) -> int:
    prompts = body.get("prompt")
    if type(prompts) is list and prompts and type(prompts[0]) is not int:
        return len(prompts)
    return 1
