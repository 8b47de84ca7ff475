"""Answers in the form in which engines write them whole, made of the chunks of a stream and turned into such. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

_GOOD = frozenset({"stop", "tool_calls", "function_call"})
_TEXTS = frozenset({"content", "reasoning_content", "reasoning", "refusal"})
_DONE = b"[DONE]"
Parts = dict[str, Any]


class _Unknown(Exception):
    """A chunk says something that nobody here knows how to put together."""


def is_good(body: bytes) -> bool:
    """Whether a whole answer is worth to be given again: it ended by itself and says something.

    One that was cut by a limit of length is not: whoever asks again hopes for all of it. Nor is what a filter stopped.
    """
    answer = msgspec.json.decode(body)
    if not isinstance(answer, dict) or answer.get("error"):
        return False
    if "data" in answer:
        return bool(answer["data"])
    choices: list[Parts] = answer.get("choices") or []
    return bool(choices) and all(each.get("finish_reason") in _GOOD and _says(each) for each in choices)


def assembled(chunks: Sequence[bytes]) -> bytes | None:
    """The whole answer that the chunks of a stream are; None where one says what cannot be put together."""
    head: Parts = {}
    choices: dict[int, Parts] = {}
    try:
        for chunk in map(msgspec.json.decode, chunks):
            head |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
            for piece in chunk.get("choices") or []:
                _add(choices.setdefault(piece.get("index", 0), {}), piece)
    except (_Unknown, AttributeError, TypeError, KeyError):
        return None
    if not choices:
        return None
    kind = str(head.get("object", "")).removesuffix(".chunk")
    told = [_whole_choice(index, choices[index]) for index in sorted(choices)]
    return msgspec.json.encode({**head, "object": kind, "choices": told})


def chunks(body: bytes) -> list[bytes]:
    """The events that stream a whole answer: what each choice says, how it ended, the usage, and `[DONE]`."""
    answer: Parts = msgspec.json.decode(body)
    usage = answer.pop("usage", None)
    choices = answer.pop("choices")
    if answer.get("object") == "chat.completion":
        answer["object"] = "chat.completion.chunk"
    events = [{**answer, "choices": [piece]} for choice in choices for piece in _pieces(choice)]
    if usage is not None:
        events.append({**answer, "choices": [], "usage": usage})
    return [*map(msgspec.json.encode, events), _DONE]


def _says(choice: Mapping[str, Any]) -> bool:
    message = choice.get("message")
    if message is None:
        return bool(choice.get("text"))
    return bool(message.get("content") or message.get("tool_calls") or message.get("function_call"))


def _pieces(choice: Parts) -> Iterable[Parts]:
    """What a choice says, then how it ended."""
    end = {name: choice[name] for name in choice.keys() - {"message", "text", "logprobs"}}
    said = {"index": choice.get("index", 0), "finish_reason": None}
    if "logprobs" in choice:
        said["logprobs"] = choice["logprobs"]
    if not choice.get("message"):
        yield {**said, "text": choice.get("text", "")}
        yield {**end, "text": ""}
        return
    delta = {name: value for name, value in choice["message"].items() if value is not None}
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls)]
    yield {**said, "delta": delta}
    yield {**end, "delta": {}}


def _add(choice: Parts, piece: Parts) -> None:
    """Put the next piece of a choice to what there is of it."""
    for name, value in piece.items():
        if value is None:
            continue
        if name == "delta":
            _add_delta(choice.setdefault("message", {}), value)
        elif name == "text":
            choice["text"] = choice.get("text", "") + value
        elif name == "logprobs":
            _add_lists(choice.setdefault("logprobs", {}), value)
        else:
            choice[name] = value


def _add_delta(message: Parts, delta: Parts) -> None:
    for name, value in delta.items():
        if value is None:
            continue
        if name in _TEXTS:
            message[name] = message.get(name, "") + value
        elif name == "tool_calls":
            for call in value:
                _add_call(message.setdefault("tool_calls", {}), call)
        elif name == "role":
            message["role"] = value
        elif value:
            raise _Unknown(name)


def _add_call(calls: dict[int, Parts], piece: Parts) -> None:
    function = piece.get("function") or {}
    call = calls.setdefault(piece.get("index", 0), {"type": "function", "function": {"name": "", "arguments": ""}})
    call |= {name: value for name, value in piece.items() if name not in ("index", "function") and value is not None}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def _add_lists(whole: Parts, part: Parts) -> None:
    for name, value in part.items():
        if value is None:
            whole.setdefault(name, None)
        elif isinstance(value, list):
            whole[name] = [*(whole.get(name) or []), *value]
        else:
            raise _Unknown(name)


def _whole_choice(index: int, choice: Parts) -> Parts:
    told = {"finish_reason": None, **choice, "index": index}
    if message := choice.get("message"):
        calls = message.get("tool_calls")
        said = {"role": "assistant", "content": None, **message}
        told["message"] = said | ({"tool_calls": [calls[number] for number in sorted(calls)]} if calls else {})
    return told
