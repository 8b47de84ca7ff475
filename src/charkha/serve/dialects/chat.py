"""The internal form: a chat as OpenAI's chat completions write it, which is what engines are sent and what the log keeps.

A request in this form is a JSON object that `openai.check` has seen. An answer, whole or in chunks, is what these
types read of one; every other dialect is a translation to the one and from the other.
"""

from typing import Any

import msgspec


class Function(msgspec.Struct):
    """Which function is called, and with what (JSON text); in a chunk, the next piece of either."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    """One call that the model asks for. `index` tells the calls of a streamed answer apart."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Said(msgspec.Struct):
    """What the model says: a message, or the next piece of one."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None

    def says_something(self) -> bool:
        """Whether anything of an answer is in it."""
        return bool(self.content or self.tool_calls or self.refusal)


class Logprobs(msgspec.Struct):
    """Log-probabilities of the answer's tokens, as OpenAI writes them."""

    content: list[dict[str, Any]] | None = None


class Choice(msgspec.Struct):
    """One answer. `stop_reason` is the stop string that ended it, where an engine tells that (vLLM does)."""

    index: int = 0
    delta: Said | None = None
    message: Said | None = None
    text: None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: Logprobs | None = None

    @property
    def said(self) -> Said:
        """What this choice, or this piece of it, says."""
        return self.delta or self.message or Said()


class PromptDetails(msgspec.Struct):
    """How much of the prompt the engine had already read."""

    cached_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    """How much of the answer was thought, not said."""

    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    """Tokens read and written."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None

    @property
    def cached(self) -> int:
        """Tokens of the prompt that came from a cache."""
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0


class Answer(msgspec.Struct):
    """An answer or a chunk of one."""

    choices: list[Choice] = []
    usage: Usage | None = None
    error: msgspec.Raw | None = None

    @property
    def first(self) -> Choice | None:
        """The choice that other dialects show: they know but one."""
        return next((choice for choice in self.choices if choice.index == 0), None)


decode = msgspec.json.Decoder(Answer).decode
