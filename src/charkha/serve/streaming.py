"""Answers on their way through: server-sent events and whole ones, read once for the log, their bytes left as they are.

Pure but for the clock that times the first token. Only the ids and the model's name are changed, in place.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from charkha.serve.dialects import chat
from charkha.serve.recording import Outcome
from charkha.serve.upstream import EngineFailed

MAX_EVENT_BYTES = 8 * 2**20
DONE = b"data: [DONE]\n\n"


class _Said(msgspec.Struct):
    content: Any = None
    reasoning_content: Any = None
    tool_calls: list[msgspec.Raw] | None = None

    def says_something(self) -> bool:
        """Whether anything of an answer is in it."""
        return bool(self.content or self.tool_calls or self.reasoning_content)


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Said | None = None
    message: _Said | None = None
    text: Any = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Answer(msgspec.Struct):
    """What is read of an answer or of a chunk of one; the rest passes unread."""

    id: str | msgspec.UnsetType | None = msgspec.UNSET
    model: str = ""
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw | None = None


_Kind = TypeVar("_Kind", _Answer, chat.Answer)
_decode = msgspec.json.Decoder(_Answer).decode


class Lines:
    """Cuts a byte stream into the payloads of its `data:` lines, wherever the network cut it."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that are whole now. Raises EngineFailed for a line that does not end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise EngineFailed("The engine sent an event without an end.")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


class Relay:
    """One answer on its way from engine to client. `outcome` gathers what the log wants to know of it."""

    __slots__ = ("_id", "_model", "_notes", "_usage", "_wants_usage", "done")

    def __init__(self, answer_id: str, model: str, outcome: Outcome, *, wants_usage: bool, keeps_content: bool) -> None:
        self._id, self._model = msgspec.json.encode(answer_id), msgspec.json.encode(model)
        self._wants_usage, self._usage = wants_usage, b""
        self._notes, self.done = Notes(outcome, keeps_content), False

    def whole(self, body: bytes) -> bytes:
        """A whole answer, as the client gets it."""
        answer = read(_decode, body)
        self._notes.take(answer)
        self._notes.finish()
        return self._named(body, answer)

    def chunk(self, payload: bytes) -> bytes:
        """One event as the client gets it; empty for one that it does not get. After `[DONE]`, `done` is true."""
        if payload == b"[DONE]":
            self.done = True
            self._notes.finish()
            return self._usage
        answer = read(_decode, payload)
        self._notes.take(answer)
        if answer.usage is None:
            return b"data: " + self._named(payload, answer) + b"\n\n"
        return self._with_usage(payload, answer)

    def ending(self) -> bytes:
        """What ends the stream; sent once the close record stands."""
        return DONE

    def _with_usage(self, payload: bytes, answer: _Answer) -> bytes:
        """An event that tells the usage, which has an event of its own, the last, and only where it was asked for."""
        if not answer.choices:
            self._usage = b"data: " + self._named(payload, answer) + b"\n\n" if self._wants_usage else b""
            return b""
        whole = msgspec.json.decode(self._named(payload, answer))
        if self._wants_usage:
            self._usage = b"data: " + msgspec.json.encode({**whole, "choices": []}) + b"\n\n"
        return b"data: " + msgspec.json.encode({**whole, "usage": None}) + b"\n\n"

    def _named(self, body: bytes, answer: _Answer) -> bytes:
        if answer.id is not msgspec.UNSET:
            body = _replaced(body, b'"id":', answer.id, self._id)
        elif answer.choices:
            body = b'{"id":' + self._id + b"," + body.lstrip()[1:]  # some services give their answers none
        return _replaced(body, b'"model":', answer.model, self._model) if answer.model else body


class Notes:
    """What the log wants to know of an answer, gathered in `outcome` as it passes."""

    __slots__ = ("_called", "_keeps_content", "_outcome", "_texts")

    def __init__(self, outcome: Outcome, keeps_content: bool) -> None:
        self._outcome, self._keeps_content, self._called = outcome, keeps_content, False
        self._texts: list[str] = []

    def take(self, answer: "_Answer | chat.Answer") -> None:
        """Note an answer, or a chunk of one."""
        outcome = self._outcome
        if answer.usage is not None:
            outcome.prompt_tokens, outcome.completion_tokens = (
                answer.usage.prompt_tokens,
                answer.usage.completion_tokens,
            )
        for choice in answer.choices:
            if choice.text or (choice.delta is not None and choice.delta.says_something()):
                outcome.streamed += 1  # engines send each token in an event of its own
            if choice.index == 0:
                self._take_choice(choice)

    def finish(self) -> None:
        """Put the text together; of several choices the first is the one that is kept.

        Engines that were told which tool to call end with "stop"; the log says of each answer whether it called.
        """
        self._outcome.answer = "".join(self._texts)
        if self._called and self._outcome.finish_reason == "stop":
            self._outcome.finish_reason = "tool_calls"

    def _take_choice(self, choice: "_Choice | chat.Choice") -> None:
        outcome = self._outcome
        outcome.finish_reason = choice.finish_reason or outcome.finish_reason
        part = choice.delta or choice.message
        text = part.content if part else choice.text
        if part and part.tool_calls:
            self._called = True
        if outcome.first_token is None and (text or self._called):
            outcome.first_token = time.perf_counter()
        if text and self._keeps_content and isinstance(text, str):
            self._texts.append(text)


def read(decode: Callable[[bytes], _Kind], body: bytes) -> _Kind:
    """An answer, or a chunk of one, as `decode` reads it. Raises EngineFailed for nonsense, and where it tells of an error."""
    try:
        answer = decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EngineFailed(f"The engine's answer cannot be read: {error}.") from error
    if answer.error is not None:
        raise EngineFailed("The engine broke down while it answered.", remedy="Try again; its log says more.")
    return answer


def _replaced(body: bytes, name: bytes, old: str | None, new: bytes) -> bytes:
    """`body` with the value of a field replaced, found by its own bytes.

    A quoted name followed by a colon cannot stand inside a JSON string, where its quotes would be escaped.
    """
    value = msgspec.json.encode(old)
    for space in (b"", b" "):
        literal = name + space + value
        if literal in body:
            return body.replace(literal, name + new, 1)
    return body
