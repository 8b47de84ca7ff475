"""Anthropic's answers as a chat has them, whole or as the events of a stream: the way back into the internal form.

Pure. Translators, as `serve.ports` wants them: what makes no sense becomes an error in OpenAI's form.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from charkha.serve.streaming import Lines

MAX_ANSWER_BYTES: Final = 64 * 2**20
_OVERLOADED: Final = 529
_DONE = b"data: [DONE]\n\n"
_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}


class _Block(msgspec.Struct):
    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = {}


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int = 0


class _Usage(msgspec.Struct):
    """Tokens so far. Those of the prompt that a cache has or takes are not among `input_tokens`."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct):
    id: str
    model: str
    content: list[_Block] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: _Usage = msgspec.field(default_factory=_Usage)


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Failure(msgspec.Struct):
    type: str = "api_error"
    message: str = ""


class _Event(msgspec.Struct):
    """Any event of a stream; which fields it has depends on its type, and types that are new are passed over."""

    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Failure | None = None


class _Refused(msgspec.Struct):
    error: _Failure


class WholeAnswer:
    """A whole answer, or what is answered instead of one. See `ports.Translator`."""

    def __init__(self, created: int) -> None:
        """`created`: now, in seconds of the epoch, which Anthropic's answers do not tell."""
        self._created, self._status, self._body = created, 200, bytearray()

    def status(self, status: int) -> int:
        """The status that OpenAI's API would have answered with."""
        self._status = status
        return 503 if status == _OVERLOADED else status

    def feed(self, data: bytes) -> bytes:
        """Nothing yet: the answer is told when it is whole."""
        if len(self._body) <= MAX_ANSWER_BYTES:
            self._body += data
        return b""

    def end(self) -> bytes:
        """The answer."""
        if len(self._body) > MAX_ANSWER_BYTES:
            return _error(_Failure(message="the answer is too large"))
        try:
            if self._status != 200:
                return _error(msgspec.json.decode(self._body, type=_Refused).error)
            return msgspec.json.encode(_completion(msgspec.json.decode(self._body, type=_Message), self._created))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _error(_Failure(message=f"the answer cannot be read: {error}"))


class StreamedAnswer:
    """An answer as its events come. See `ports.Translator`."""

    def __init__(self, created: int, *, tells_usage: bool) -> None:
        """`created`: see WholeAnswer. `tells_usage`: the last chunk tells it."""
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": created, "model": ""}
        self._tells_usage, self._usage = tells_usage, _Usage()
        self._lines, self._refusal = Lines(), WholeAnswer(created)
        self._status, self._calls, self._arguments = 200, -1, False
        self._stopped: dict[str, Any] | None = None

    def status(self, status: int) -> int:
        """The status that OpenAI's API would have answered with."""
        self._status = status
        return self._refusal.status(status)

    def feed(self, data: bytes) -> bytes:
        """The chunks that the events in `data` become."""
        if self._status != 200:
            return self._refusal.feed(data)
        return b"".join([self._told(payload) for payload in self._lines.feed(data)])

    def end(self) -> bytes:
        """What is told instead of a stream; nothing after one, which ends itself."""
        return self._refusal.end() if self._status != 200 else b""

    def _told(self, payload: bytes) -> bytes:
        try:
            event = msgspec.json.decode(payload, type=_Event)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _line(_error(_Failure(message=f"an event cannot be read: {error}")))
        if event.type == "error":
            return _line(_error(event.error or _Failure()))
        told = b"".join([_line(msgspec.json.encode(chunk)) for chunk in self._chunks(event)])
        return told + _DONE if event.type == "message_stop" else told

    def _chunks(self, event: _Event) -> Iterator[dict[str, Any]]:
        match event:
            case _Event(type="message_start", message=_Message() as message):
                self._head |= {"id": message.id, "model": message.model}
                self._usage = message.usage
                yield self._piece({"role": "assistant", "content": ""})
            case _Event(type="content_block_start", content_block=_Block() as block):
                yield from self._begun(block)
            case _Event(type="content_block_delta", delta=_Delta() as delta):
                yield from self._more(delta)
            case _Event(type="content_block_stop"):
                yield from self._block_ended()
            case _Event(type="message_delta"):
                self._usage = _newer(self._usage, event.usage)
                if event.delta is not None and event.delta.stop_reason is not None:
                    yield self._choice({"delta": {}, **_stopped(event.delta)})
            case _Event(type="message_stop") if self._tells_usage:
                yield {**self._head, "choices": [], "usage": _usage(self._usage)}

    def _begun(self, block: _Block) -> Iterator[dict[str, Any]]:
        if block.type == "tool_use":
            self._calls, self._arguments = self._calls + 1, True
            function = {"name": block.name, "arguments": ""}
            yield self._call({"id": block.id, "type": "function", "function": function})
            if block.input:
                yield self._argued(msgspec.json.encode(block.input).decode())
        elif block.type == "text" and block.text:
            yield self._piece({"content": block.text})

    def _more(self, delta: _Delta) -> Iterator[dict[str, Any]]:
        if delta.text:
            yield self._piece({"content": delta.text})
        elif delta.thinking:
            yield self._piece({"reasoning_content": delta.thinking})
        elif delta.partial_json:
            yield self._argued(delta.partial_json)

    def _block_ended(self) -> Iterator[dict[str, Any]]:
        """A call without input has no piece of it: clients read its arguments as JSON all the same."""
        if self._arguments:
            yield self._argued("{}")

    def _argued(self, piece: str) -> dict[str, Any]:
        self._arguments = False
        return self._call({"function": {"arguments": piece}})

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        return self._piece({"tool_calls": [{"index": self._calls, **call}]})

    def _piece(self, delta: dict[str, Any]) -> dict[str, Any]:
        return self._choice({"delta": delta, "finish_reason": None})

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {**self._head, "choices": [{"index": 0, **choice}]}


def _completion(message: _Message, created: int) -> dict[str, Any]:
    text = "".join(block.text for block in message.content if block.type == "text")
    thoughts = "".join(block.thinking for block in message.content if block.type == "thinking")
    calls = [_tool_call(block) for block in message.content if block.type == "tool_use"]
    said: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    said |= {"reasoning_content": thoughts} if thoughts else {}
    said |= {"tool_calls": calls} if calls else {}
    return {
        "id": message.id,
        "object": "chat.completion",
        "created": created,
        "model": message.model,
        "choices": [{"index": 0, "message": said, **_stopped(message)}],
        "usage": _usage(message.usage),
    }


def _tool_call(block: _Block) -> dict[str, Any]:
    function = {"name": block.name, "arguments": msgspec.json.encode(block.input).decode()}
    return {"id": block.id, "type": "function", "function": function}


def _stopped(of: _Message | _Delta) -> dict[str, Any]:
    """Why the answer ended; with the stop sequence, where it was one, as vLLM tells it."""
    told: dict[str, Any] = {"finish_reason": _REASONS.get(of.stop_reason or "", "stop")}
    return told | ({"stop_reason": of.stop_sequence} if of.stop_sequence is not None else {})


def _newer(usage: _Usage, told: _Usage | None) -> _Usage:
    """The counts so far: they are cumulative, and those that an event leaves out stand."""
    if told is None:
        return usage
    fields = {name: getattr(told, name) for name in _Usage.__struct_fields__}
    return msgspec.structs.replace(usage, **{name: value for name, value in fields.items() if value is not None})


def _usage(usage: _Usage) -> dict[str, Any]:
    read, made = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    prompt, completion = (usage.input_tokens or 0) + read + made, usage.output_tokens or 0
    told: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read},
    }
    if usage.output_tokens_details is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.output_tokens_details.thinking_tokens}
    return told


def _error(failure: _Failure) -> bytes:
    told = {"message": failure.message or failure.type, "type": failure.type, "param": None, "code": failure.type}
    return msgspec.json.encode({"error": told})


def _line(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"
