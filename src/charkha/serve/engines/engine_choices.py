"""Several of llama.cpp's answers as one OpenAI answer, whole or streamed; and its log probabilities in the older form.

Pure: decoded values in, values out. llama.cpp counts the tokens of several choices wrongly, so each choice is a call of
its own, and the counts are added up here.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

DONE: Final = b"data: [DONE]\n\n"


def merged(answers: Sequence[dict[str, Any]], per_prompt: int) -> dict[str, Any]:
    """One answer with the choices of all, numbered in order; a prompt counts once however many choices it has."""
    choices = [{**choice, "index": index} for index, answer in enumerate(answers) for choice in answer["choices"][:1]]
    usage = total_usage([answer["usage"] for answer in answers], per_prompt)
    return {**answers[0], "choices": choices, "usage": usage}


def total_usage(usages: Sequence[dict[str, Any]], per_prompt: int) -> dict[str, Any]:
    """The sum of what calls used; runs of `per_prompt` calls share a prompt. Call it with them in order."""
    prompt = sum(usage["prompt_tokens"] for usage in usages[::per_prompt])
    completion = sum(usage["completion_tokens"] for usage in usages)
    cached = sum(usage.get("prompt_tokens_details", {}).get("cached_tokens", 0) for usage in usages[::per_prompt])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def with_legacy_logprobs(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with `logprobs` as /v1/completions has always had them: parallel lists of tokens, values, offsets."""
    return {
        **answer,
        "choices": [{**choice, "logprobs": _legacy(choice.get("logprobs"))} for choice in answer["choices"]],
    }


def _legacy(logprobs: dict[str, Any] | None) -> dict[str, Any] | None:
    if not logprobs or "content" not in logprobs:
        return logprobs
    tokens: list[dict[str, Any]] = logprobs["content"] or []
    offsets, offset = [], 0
    for token in tokens:
        offsets.append(offset)
        offset += len(token["token"])
    return {
        "tokens": [token["token"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [{top["token"]: top["logprob"] for top in token["top_logprobs"]} for token in tokens],
        "text_offset": offsets,
    }


class EventSplitter:
    """Cuts a byte stream into server-sent events' data, keeping what is incomplete for the next piece."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that is complete now, without `[DONE]` and comments."""
        *events, self._rest = (self._rest + chunk).split(b"\n\n")
        data = [event[6:] for event in events if event.startswith(b"data: ")]
        return [each for each in data if each != b"[DONE]"]


class StreamMerger:
    """Turns the events of several streams into one stream's, with one usage event at its end if that is asked for."""

    def __init__(self, calls: int, per_prompt: int, legacy_logprobs: bool) -> None:
        self._usages: list[dict[str, Any] | None] = [None] * calls
        self._per_prompt, self._legacy = per_prompt, legacy_logprobs
        self._last: dict[str, Any] = {}

    def event(self, call: int, data: bytes) -> bytes:
        """What an event of stream `call` becomes; empty when it is kept for the end."""
        chunk: dict[str, Any] = msgspec.json.decode(data)
        if "error" in chunk:
            return sse(chunk)
        if not chunk["choices"]:
            self._usages[call], self._last = chunk["usage"], chunk
            return b""
        chunk["choices"] = [{**choice, "index": call} for choice in chunk["choices"]]
        return sse(with_legacy_logprobs(chunk) if self._legacy else chunk)

    def usage(self) -> bytes:
        """The usage event of the whole; empty if none was asked for."""
        usages = [usage for usage in self._usages if usage is not None]
        if len(usages) < len(self._usages):
            return b""
        return sse({**self._last, "usage": total_usage(usages, self._per_prompt)})


def sse(event: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + msgspec.json.encode(event) + b"\n\n"
