"""An engine without a model: it says back what it was told, in OpenAI's form, and fails on demand.

`FakeModel` is the ASGI application, `FakeEngine` the plugin's object that points at one. For tests of whatever
stands in front of an engine, and for benchmarks that want to measure the gateway alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from charkha.serve.ports import EngineHealth, UpstreamCall

Message = MutableMapping[str, Any]
_ID = "chatcmpl-engine-own"


class Broken(Exception):
    """Makes the server cut the connection."""


class FakeModel:
    """The application. Answers a chat with `echo:` and the last message, adapters first: `<abcd*0.5> echo: hello`.

    Attributes may be changed while it serves: `pause` is seconds before each chunk, `break_after` cuts the connection
    after that many chunks, `failure` is a (status, error object) to answer with, `held` the adapters that are loaded.
    `script` holds messages (content, tool_calls) that chats are answered with, one each, before it echoes again;
    `vectors` the embeddings of texts that have one of their own.
    """

    def __init__(self, *, held: Sequence[str] | None = None, pause: float = 0.0) -> None:
        self.held = None if held is None else set(held)
        self.pause, self.break_after = pause, -1
        self.failure: tuple[int, dict[str, Any]] | None = None
        self.requests: list[dict[str, Any]] = []
        self.script: list[dict[str, Any]] = []
        self.vectors: dict[str, list[float]] = {}
        self.running = self.abandoned = 0

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        """Answer one request."""
        content = b""
        while (message := await receive())["type"] == "http.request":
            content += message["body"]
            if not message["more_body"]:
                break
        request = msgspec.json.decode(content)
        self.requests.append(request)
        self.running += 1
        try:
            await self._answer(scope["path"], request, send, receive)
        finally:
            self.running -= 1

    async def _answer(self, path: str, request: dict[str, Any], send: Any, receive: Any) -> None:
        missing = [
            each["id"] for each in request.get("adapters", []) if self.held is not None and each["id"] not in self.held
        ]
        if missing:
            await _json(send, 409, {"error": {"code": "adapter_not_loaded", "message": "not loaded"}})
        elif self.failure:
            await _json(send, self.failure[0], {"error": self.failure[1]})
        elif path.endswith("/embeddings"):
            numbers = self.vectors.get(str(request["input"]), [0.5, -0.5])
            vector = {"object": "embedding", "index": 0, "embedding": numbers}
            await _json(send, 200, {"object": "list", "model": "tiny", "data": [vector], "usage": {"prompt_tokens": 3}})
        elif request.get("stream"):
            await self._stream(_chunks(path, request, self._said(request)), send, receive)
        else:
            await asyncio.sleep(self.pause)
            if self.break_after >= 0:
                raise Broken
            await _json(send, 200, _whole(path, request, self._said(request)))

    def _said(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.script.pop(0) if self.script and "messages" in request else {"content": answer_to(request)}

    async def _stream(self, chunks: list[bytes], send: Any, receive: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        gone = asyncio.ensure_future(receive())
        try:
            for number, payload in enumerate(chunks):
                if number == self.break_after:
                    raise Broken
                if self.pause:
                    await asyncio.wait([gone], timeout=self.pause)
                if gone.done():
                    self.abandoned += 1
                    return
                await send({"type": "http.response.body", "body": b"data: " + payload + b"\n\n", "more_body": True})
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})
        finally:
            gone.cancel()


class FakeEngine:
    """The engine at `address`, or at none while that is empty. Change `address` to let it come back elsewhere."""

    def __init__(self, address: str, name: str = "local") -> None:
        self.name, self.address = name, address

    def prepare(self, home: Path, token: str) -> Path | None:
        """Nothing to prepare."""
        return None

    def command(self) -> list[str] | None:
        """No process of its own."""
        return None

    def upstream(self, path: str, body: dict[str, Any], adapters: Sequence[tuple[str, float]]) -> UpstreamCall:
        """The call for a request. Raises ConnectionError while there is no address."""
        if not self.address:
            raise ConnectionError("the engine has no address yet")
        wanted = [{"id": digest, "weight": weight} for digest, weight in adapters]
        content = msgspec.json.encode({**body, "adapters": wanted})
        return UpstreamCall(self.address + path, {"content-type": "application/json"}, content)

    async def health(self) -> EngineHealth:
        """Always well."""
        return EngineHealth(ready=bool(self.address), model="tiny")

    async def adapters(self) -> list[str]:
        """None."""
        return []

    async def load_adapter(self, digest: str, content: Path) -> None:
        """Nothing to load."""

    async def unload_adapter(self, digest: str) -> None:
        """Nothing to unload."""


def answer_to(request: dict[str, Any]) -> str:
    """What the model says to a request."""
    said = request["messages"][-1].get("content") if "messages" in request else request["prompt"]
    if isinstance(said, list):
        said = "".join(part.get("text", "") if isinstance(part, dict) else str(part) for part in said)
    blend = "".join(f"<{each['id'][:4]}*{each['weight']:g}> " for each in request.get("adapters", []))
    return f"{blend}echo: {said}"


def _usage(request: dict[str, Any]) -> dict[str, int]:
    written = len(answer_to(request).split())
    return {"prompt_tokens": 7, "completion_tokens": written, "total_tokens": 7 + written}


def _head(path: str) -> dict[str, Any]:
    return {
        "id": _ID,
        "object": "chat.completion.chunk" if "chat" in path else "text_completion",
        "created": 1,
        "model": "tiny",
    }


def _whole(path: str, request: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    if "chat" in path:
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": None, **said}}
    else:
        choice = {"text": said["content"], "logprobs": None}
    head = {**_head(path), "object": _head(path)["object"].removesuffix(".chunk")}
    return {**head, "choices": [{"index": 0, "finish_reason": _reason(said), **choice}], "usage": _usage(request)}


def _chunks(path: str, request: dict[str, Any], said: dict[str, Any]) -> list[bytes]:
    """The answer word by word, its calls piece by piece, its end, and the usage where it is asked for."""
    head = _head(path)
    key = "delta" if "chat" in path else "text"
    words = said["content"].split(" ") if said.get("content") else []
    parts = [word if number == 0 else f" {word}" for number, word in enumerate(words)]
    pieces = [{"content": part} for part in parts] + _call_deltas(said.get("tool_calls") or [])
    pieces[0] = {"role": "assistant", **pieces[0]}
    told = [{"index": 0, key: piece if key == "delta" else piece["content"], "finish_reason": None} for piece in pieces]
    told.append({"index": 0, key: {} if key == "delta" else "", "finish_reason": _reason(said)})
    chunks = [{**head, "choices": [choice]} for choice in told]
    if (request.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": _usage(request)})
    return [msgspec.json.encode(chunk) for chunk in chunks]


def _call_deltas(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each call: its id and name, then its arguments in pieces of five characters."""
    deltas: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        arguments = call["function"]["arguments"]
        first = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
        cut = [arguments[start : start + 5] for start in range(0, len(arguments), 5)]
        deltas.append({"tool_calls": [first]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in cut]
    return deltas


def _reason(said: dict[str, Any]) -> str:
    return "tool_calls" if said.get("tool_calls") else "stop"


async def _json(send: Any, status: int, body: dict[str, Any]) -> None:
    head = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": msgspec.json.encode(body), "more_body": False})
