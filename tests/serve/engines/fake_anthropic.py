"""Anthropic's API as far as the engine plugin uses it: messages, whole and streamed, counts, models, and its errors.

Written from the API reference. Of its versions the engine uses 2023-06-01, Anthropic's own client the newer one. It
says back what it was told, or what `script` holds.
"""

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import msgspec

Json = dict[str, Any]
KEY = "sk-ant-of-the-test"
VERSIONS = ("2023-06-01", "2026-10-21")
_JSON = [(b"content-type", b"application/json")]


class FakeAnthropic:
    """The application. `script` holds lists of content blocks to answer with, `failure` a (status, type, message).

    `breaks` is a type of error that ends each stream after its first block; `cuts` is where the bytes of streams are cut.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Json]] = []
        self.script: list[tuple[list[Json], str]] = []
        self.failure: tuple[int, str, str] | None = None
        self.breaks = ""
        self.cuts = 7

    async def __call__(self, scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Answer one request."""
        content = b""
        while (message := await receive())["type"] == "http.request":
            content += message["body"]
            if not message["more_body"]:
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        request = msgspec.json.decode(content) if content else {}
        self.requests.append((scope["path"], headers, request))
        if refused := self.failure or _refusal(scope["path"], headers, request):
            status, kind, text = refused
            error = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}
            await _send(send, status, _JSON, msgspec.json.encode(error))
        elif scope["path"] == "/v1/models":
            await _send(send, 200, _JSON, b'{"data": [], "has_more": false}')
        elif scope["path"] == "/v1/messages/count_tokens":
            await _send(send, 200, _JSON, msgspec.json.encode({"input_tokens": _read(request)}))
        elif request.get("stream"):
            events = b"".join(self._events(request))
            pieces = [events[start : start + self.cuts] for start in range(0, len(events), self.cuts)]
            await _send(send, 200, [(b"content-type", b"text/event-stream; charset=utf-8")], *pieces)
        else:
            await _send(send, 200, _JSON, msgspec.json.encode(self._message(request)))

    def _message(self, request: Json) -> Json:
        blocks, reason = self.script.pop(0) if self.script else _echo(request)
        read = _read(request)
        usage = {
            "input_tokens": read - 2,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 2,
            "output_tokens": min(len(blocks) + 2, request["max_tokens"]),
            "service_tier": "standard",
        }
        return {
            "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
            "type": "message",
            "role": "assistant",
            "model": request["model"] + "-20260101",
            "content": blocks,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }

    def _events(self, request: Json) -> Iterator[bytes]:
        message = self._message(request)
        told = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
        yield _event({"type": "message_start", "message": told})
        yield _event({"type": "ping"})
        for index, block in enumerate(message["content"]):
            yield from _block(index, block)
            if self.breaks:
                yield _event({"type": "error", "error": {"type": self.breaks, "message": "Overloaded"}})
                return
        delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        usage = {"output_tokens": message["usage"]["output_tokens"]}
        yield _event({"type": "message_delta", "delta": delta, "usage": usage})
        yield _event({"type": "message_stop"})


def _block(index: int, block: Json) -> Iterator[bytes]:
    if block["type"] == "tool_use":
        start, deltas = {**block, "input": {}}, _pieces(block["input"])
    elif block["type"] == "thinking":
        start = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": "EqQ"},
        ]
    else:
        words = block["text"].split(" ")
        start = {"type": "text", "text": ""}
        deltas = [
            {"type": "text_delta", "text": word if place == 0 else f" {word}"} for place, word in enumerate(words)
        ]
    yield _event({"type": "content_block_start", "index": index, "content_block": start})
    for delta in deltas:
        yield _event({"type": "content_block_delta", "index": index, "delta": delta})
    yield _event({"type": "content_block_stop", "index": index})


def _pieces(given: Json) -> list[Json]:
    text = msgspec.json.encode(given).decode() if given else ""
    cut = ["", *(text[start : start + 5] for start in range(0, len(text), 5))]
    return [{"type": "input_json_delta", "partial_json": piece} for piece in cut]


def _refusal(path: str, headers: dict[str, str], request: Json) -> tuple[int, str, str] | None:
    shown = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    if shown != KEY:
        return 401, "authentication_error", "invalid x-api-key"
    if headers.get("anthropic-version") not in VERSIONS:
        return 400, "invalid_request_error", "anthropic-version: header is required"
    if path == "/v1/messages" and type(request.get("max_tokens")) is not int:
        return 400, "invalid_request_error", "max_tokens: Field required"
    if not isinstance(request.get("temperature", 1), int | float):
        return 400, "invalid_request_error", "temperature: Input should be a valid number"
    if path not in ("/v1/messages", "/v1/messages/count_tokens", "/v1/models"):
        return 404, "not_found_error", "Not found"
    return None


def _echo(request: Json) -> tuple[list[Json], str]:
    content = request["messages"][-1]["content"]
    text = content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
    return [{"type": "text", "text": f"echo: {text}"}], "end_turn"


def _read(request: Json) -> int:
    return 5 + len(request["messages"])


def _event(event: Json) -> bytes:
    return b"event: " + event["type"].encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"


async def _send(send: Any, status: int, headers: list[tuple[bytes, bytes]], *pieces: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
