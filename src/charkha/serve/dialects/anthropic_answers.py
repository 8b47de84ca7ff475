"""Answers in Anthropic's words: a message of content blocks, whole or as the events that build one. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from charkha.serve.dialects.chat import Answer, Choice, ToolCall, Usage
from charkha.serve.dialects.dialect import event

_REASONS = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class MessageTelling:
    """One answer as a message. See `dialect.Telling`."""

    def __init__(self, inference_id: str, model: str) -> None:
        self._id, self._model = inference_id, model
        self._usage, self._last = Usage(), Choice()
        self._began = False
        self._blocks, self._open = 0, False
        self._call: int | None = None
        self._called: set[int] = set()

    def whole(self, answer: Answer) -> bytes:
        """The message. Raises ValueError for a tool call whose arguments are no JSON object."""
        choice = answer.first or Choice()
        stopped = _stopped(choice, called=bool(choice.said.tool_calls))
        return msgspec.json.encode(self._message(self._content(choice), stopped, answer.usage or Usage()))

    def chunk(self, chunk: Answer) -> bytes:
        """Events for what the chunk says. Raises ValueError for a call that goes on after the next has begun."""
        return b"".join(event(each["type"], msgspec.json.encode(each)) for each in self._events(chunk))

    def ending(self) -> bytes:
        """The end of the last block, why the message ended, what it used, and its end."""
        told = [*self._begin(), *self._stop(), self._delta(), {"type": "message_stop"}]
        return b"".join(event(each["type"], msgspec.json.encode(each)) for each in told)

    def _content(self, choice: Choice) -> list[dict[str, Any]]:
        said = choice.said
        text = said.content or said.refusal
        blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
        for number, call in enumerate(said.tool_calls or []):
            arguments = (call.function and call.function.arguments) or "{}"
            blocks.append({**self._use(call, number), "input": msgspec.json.decode(arguments, type=dict[str, Any])})
        return blocks

    def _message(self, content: list[dict[str, Any]], stopped: dict[str, Any], usage: Usage) -> dict[str, Any]:
        return {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            **stopped,
            "usage": _usage(usage),
        }

    def _events(self, chunk: Answer) -> Iterator[dict[str, Any]]:
        self._usage = chunk.usage or self._usage
        yield from self._begin()
        choice = chunk.first
        if choice is None:
            return
        if choice.finish_reason:
            self._last = choice
        said = choice.said
        if text := said.content or said.refusal:
            yield from self._text(text)
        for call in said.tool_calls or []:
            yield from self._piece(call)
        if choice.finish_reason:
            yield from self._stop()

    def _begin(self) -> Iterator[dict[str, Any]]:
        if not self._began:
            self._began = True
            yield {"type": "message_start", "message": self._message([], _stopped(Choice()), Usage())}

    def _text(self, text: str) -> Iterator[dict[str, Any]]:
        if not self._open or self._call is not None:
            self._call = None
            yield from self._start({"type": "text", "text": ""})
        yield self._piece_of({"type": "text_delta", "text": text})

    def _piece(self, call: ToolCall) -> Iterator[dict[str, Any]]:
        number = call.index or 0
        if not self._open or self._call != number:
            if number in self._called:
                raise ValueError("a tool call goes on after the next has begun")
            self._called.add(number)
            self._call = number
            yield from self._start({**self._use(call, number), "input": {}})
        if call.function and call.function.arguments:
            yield self._piece_of({"type": "input_json_delta", "partial_json": call.function.arguments})

    def _start(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from self._stop()
        self._open = True
        yield {"type": "content_block_start", "index": self._blocks, "content_block": block}

    def _piece_of(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._blocks, "delta": delta}

    def _stop(self) -> Iterator[dict[str, Any]]:
        if self._open:
            yield {"type": "content_block_stop", "index": self._blocks}
            self._blocks, self._open = self._blocks + 1, False

    def _delta(self) -> dict[str, Any]:
        stopped = _stopped(self._last, called=bool(self._called))
        return {"type": "message_delta", "delta": stopped, "usage": _usage(self._usage)}

    def _use(self, call: ToolCall, number: int) -> dict[str, Any]:
        """A call without its input; one that came without an id gets ours, or its result could not be told."""
        name = call.function.name if call.function else None
        if not name:
            raise ValueError("a tool call names no tool")
        return {"type": "tool_use", "id": call.id or f"toolu_{self._id}_{number}", "name": name}


def _stopped(choice: Choice, *, called: bool = False) -> dict[str, Any]:
    """Why an answer ended; nothing yet, while it has not. Engines that were told which tool to call end with "stop"."""
    if choice.finish_reason is None:
        return {"stop_reason": None, "stop_sequence": None}
    if called and choice.finish_reason == "stop":
        return {"stop_reason": "tool_use", "stop_sequence": None}
    if isinstance(choice.stop_reason, str) and choice.finish_reason == "stop":
        return {"stop_reason": "stop_sequence", "stop_sequence": choice.stop_reason}
    return {"stop_reason": _REASONS.get(choice.finish_reason, "end_turn"), "stop_sequence": None}


def _usage(usage: Usage) -> dict[str, int]:
    """Tokens, those of the prompt that came from a cache apart from the others."""
    return {
        "input_tokens": max(0, (usage.prompt_tokens or 0) - usage.cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion_tokens or 0,
    }
