"""Answers as OpenAI's responses: output items, whole or as the events that build them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.ids import instant
from charkha.serve.dialects.chat import Answer, Choice, ToolCall, Usage
from charkha.serve.dialects.dialect import event

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
_FIELD = {"output_text": "text", "refusal": "refusal"}
_DEFAULTS: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


@dataclass
class _Item:
    """One output item in the making: a message of one part (`kind` is the part's type), or a function's call."""

    id: str
    kind: str
    call: ToolCall | None = None
    pieces: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def part(self, text: str) -> dict[str, Any]:
        """The message's part, holding a text."""
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": self.logprobs}

    def told(self, status: str) -> dict[str, Any]:
        """The item as it stands."""
        if self.call is None:
            parts = [] if status == "in_progress" else [self.part("".join(self.pieces))]
            return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": parts}
        return {
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self.call.id or f"call_{self.id}",
            "name": self.call.function.name if self.call.function else None,
            "arguments": "" if status == "in_progress" else "".join(self.pieces),
        }


class ResponseTelling:
    """One answer as a response; `echo` is what of its request a response repeats. See `dialect.Telling`."""

    def __init__(self, echo: Mapping[str, Any], inference_id: str, model: str) -> None:
        self._echo, self._id, self._model = echo, inference_id, model
        self._usage, self._finished = Usage(), ""
        self._began, self._number = False, 0
        self._items: list[_Item] = []
        self._open = False
        self._called: dict[int, _Item] = {}

    def whole(self, answer: Answer) -> bytes:
        """The response. Raises ValueError for a call without a name."""
        for _ in self._steps(answer):
            pass
        return msgspec.json.encode(self._response(self._status()))

    def chunk(self, chunk: Answer) -> bytes:
        """Events for what the chunk says. Raises ValueError for a call that goes on after the next has begun."""
        return b"".join(self._event(each) for each in self._steps(chunk))

    def ending(self) -> bytes:
        """The end of the last item, and the whole response."""
        status = self._status()
        steps = [*self._begin(), *self._close(), {"type": f"response.{status}", "response": self._response(status)}]
        return b"".join(self._event(each) for each in steps)

    def _event(self, step: dict[str, Any]) -> bytes:
        told = event(step["type"], msgspec.json.encode({**step, "sequence_number": self._number}))
        self._number += 1
        return told

    def _steps(self, chunk: Answer) -> Iterator[dict[str, Any]]:
        self._usage = chunk.usage or self._usage
        yield from self._begin()
        choice = chunk.first or Choice()
        said, self._finished = choice.said, choice.finish_reason or self._finished
        if said.content:
            yield from self._text("output_text", said.content, choice)
        if said.refusal:
            yield from self._text("refusal", said.refusal, choice)
        for number, call in enumerate(said.tool_calls or []):
            yield from self._piece(call, number if call.index is None else call.index)
        if choice.finish_reason:
            yield from self._close()

    def _begin(self) -> Iterator[dict[str, Any]]:
        if not self._began:
            self._began = True
            for kind in ("response.created", "response.in_progress"):
                yield {"type": kind, "response": self._response("in_progress")}

    def _text(self, kind: str, text: str, choice: Choice) -> Iterator[dict[str, Any]]:
        if not self._open or self._items[-1].kind != kind:
            yield from self._start(_Item(f"msg_{self._id}_{len(self._items)}", kind))
            yield {"type": "response.content_part.added", **self._place(), "part": self._items[-1].part("")}
        item = self._items[-1]
        item.pieces.append(text)
        told: dict[str, Any] = {"type": f"response.{kind}.delta", **self._place(), "delta": text}
        if kind == "output_text":
            told["logprobs"] = (choice.logprobs and choice.logprobs.content) or []
            item.logprobs += told["logprobs"]
        yield told

    def _piece(self, call: ToolCall, number: int) -> Iterator[dict[str, Any]]:
        item = self._called.get(number)
        if item is None:
            if not call.function or not call.function.name:
                raise ValueError("a tool call names no tool")
            item = self._called[number] = _Item(f"fc_{self._id}_{len(self._items)}", "call", call)
            yield from self._start(item)
        elif not self._open or item is not self._items[-1]:
            raise ValueError("a tool call goes on after the next has begun")
        if call.function and call.function.arguments:
            item.pieces.append(call.function.arguments)
            yield {
                "type": "response.function_call_arguments.delta",
                **self._at(),
                "delta": call.function.arguments,
            }

    def _start(self, item: _Item) -> Iterator[dict[str, Any]]:
        yield from self._close()
        self._items.append(item)
        self._open = True
        added = {"output_index": len(self._items) - 1, "item": item.told("in_progress")}
        yield {"type": "response.output_item.added", **added}

    def _close(self) -> Iterator[dict[str, Any]]:
        if not self._open:
            return
        self._open = False
        item, text = self._items[-1], "".join(self._items[-1].pieces)
        if item.call is not None:
            name = item.call.function.name if item.call.function else None
            yield {"type": "response.function_call_arguments.done", **self._at(), "name": name, "arguments": text}
        else:
            done: dict[str, Any] = {"type": f"response.{item.kind}.done", **self._place(), _FIELD[item.kind]: text}
            yield done | ({"logprobs": item.logprobs} if item.kind == "output_text" else {})
            yield {"type": "response.content_part.done", **self._place(), "part": item.part(text)}
        last = {"output_index": len(self._items) - 1, "item": item.told(self._status())}
        yield {"type": "response.output_item.done", **last}

    def _at(self) -> dict[str, Any]:
        return {"item_id": self._items[-1].id, "output_index": len(self._items) - 1}

    def _place(self) -> dict[str, Any]:
        return {**self._at(), "content_index": 0}

    def _status(self) -> str:
        return "incomplete" if self._finished in _REASONS else "completed"

    def _response(self, status: str) -> dict[str, Any]:
        """The response as it stands; its usage and output are told when it has ended."""
        ended = status != "in_progress"
        last = len(self._items) - 1
        output = (
            [item.told(status if at == last else "completed") for at, item in enumerate(self._items)] if ended else []
        )
        return {
            **_DEFAULTS,
            **self._echo,
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": int(instant(UUID(self._id)).timestamp()),
            "status": status,
            "error": None,
            "incomplete_details": {"reason": _REASONS[self._finished]} if status == "incomplete" else None,
            "model": self._model,
            "output": output,
            "usage": _usage(self._usage) if ended else None,
        }


def _usage(usage: Usage) -> dict[str, Any]:
    read, written = usage.prompt_tokens or 0, usage.completion_tokens or 0
    thought = (usage.completion_tokens_details and usage.completion_tokens_details.reasoning_tokens) or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": read + written,
    }
