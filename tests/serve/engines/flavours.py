"""OpenAI-compatible services as they differ from OpenAI: where usage stands, what calls lack, how errors look.

Each flavour is what its documentation and its users' bug reports say of it; the answers are an echo, or two calls of
the first tool that is offered.
"""

import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import msgspec

Json = dict[str, Any]
KEY = "key-of-the-service"
WRONG, REFUSED = "temperature: must be a number", "refuse this"
WORD = re.compile(r"(\s)")


@dataclass(frozen=True)
class Flavour:
    """How one service tells things. `head` is in every chunk; `call` shapes a piece of a call in a delta or a message.

    `usage`: "apart" in a chunk of its own, "beside" the last choice, "always" in every chunk, asked for or not.
    """

    name: str
    error: Callable[[str], Any]
    call: Callable[[Json, bool], Any] = lambda call, streamed: call
    head: tuple[tuple[str, Any], ...] = ()
    choice: tuple[tuple[str, Any], ...] = ()
    usage: str = "apart"
    refuses: int = 400
    colon: bytes = b"data: "
    ends_calls: str = "tool_calls"
    in_pieces: bool = True
    length: str = "max_tokens"
    wraps_calls: bool = False
    id: str | None = "chatcmpl-theirs"


def _openai_error(message: str) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "param": "temperature", "code": None}}


def _without_index(call: Json, streamed: bool) -> Json:
    google = {"extra_content": {"google": {"thought_signature": "sig"}}}
    return {**{name: value for name, value in call.items() if name != "index"}, **google}


def _nameless(call: Json, streamed: bool) -> Json:
    return {**call, "id": ""} if "id" in call else call


def _one_index(call: Json, streamed: bool) -> Json:
    return {**call, "index": 0} if streamed else call


def _objects(call: Json, streamed: bool) -> Json:
    function = call["function"]
    if "arguments" in function and not streamed:
        function = {**function, "arguments": msgspec.json.decode(function["arguments"])}
    return {**call, "function": function}


OPENAI = Flavour(
    "openai",
    _openai_error,
    head=(("service_tier", "default"), ("system_fingerprint", None), ("obfuscation", "x7")),
    choice=(("logprobs", None),),
    length="max_completion_tokens",
)
VLLM = Flavour(
    "vllm",
    lambda message: {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400},
    head=(("prompt_logprobs", None), ("prompt_token_ids", None), ("kv_transfer_params", None)),
    choice=(("logprobs", None), ("stop_reason", None), ("token_ids", None)),
)
LLAMA_SERVER = Flavour(
    "llama-server",
    lambda message: {"error": {"code": 400, "message": message, "type": "invalid_request_error"}},
    head=(("timings", {"prompt_n": 7, "predicted_per_second": 50.1}),),
    usage="beside",
)
OLLAMA = Flavour(
    "ollama",
    lambda message: {"error": {"message": message, "type": "api_error", "param": None, "code": None}},
    _one_index,
    head=(("system_fingerprint", "fp_ollama"),),
    ends_calls="stop",
    in_pieces=False,
)
TGI = Flavour(
    "tgi",
    lambda message: {"error": message, "error_type": "validation"},
    _objects,
    head=(("system_fingerprint", "3.3.6-sha"),),
    choice=(("logprobs", None),),
    refuses=422,
    colon=b"data:",
    wraps_calls=True,
    id="",
)
GEMINI = Flavour(
    "gemini",
    lambda message: [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}],
    _without_index,
    usage="always",
    ends_calls="stop",
    in_pieces=False,
    id=None,
)
GEMINI_OF_2025 = Flavour(
    "gemini-2025",
    GEMINI.error,
    lambda call, streamed: _without_index(_nameless(call, streamed), streamed),
    usage="always",
    ends_calls="stop",
    in_pieces=False,
)
FLAVOURS = {each.name: each for each in (OPENAI, VLLM, LLAMA_SERVER, OLLAMA, TGI, GEMINI, GEMINI_OF_2025)}


class Service:
    """The application: one flavour's `/v1`. `requests` are those that it was sent."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.requests: list[Json] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        content = b""
        while (message := await receive())["type"] == "http.request":
            content += message["body"]
            if not message["more_body"]:
                break
        if scope["method"] == "GET":
            await _send(send, 200, b"application/json", b'{"object":"list","data":[]}')
            return
        request = msgspec.json.decode(content)
        self.requests.append(request)
        warmth = request.get("temperature", 0)
        if not isinstance(warmth, int | float) or request["messages"][-1]["content"] == REFUSED:
            body = msgspec.json.encode(self.flavour.error(WRONG))
            await _send(send, self.flavour.refuses, b"application/json", body)
        elif request.get("stream"):
            lines = [self.flavour.colon + msgspec.json.encode(each) + b"\n\n" for each in self._chunks(request)]
            await _send(send, 200, b"text/event-stream", *lines, self.flavour.colon + b"[DONE]\n\n")
        else:
            await _send(send, 200, b"application/json", msgspec.json.encode(self._whole(request)))

    def _whole(self, request: Json) -> Json:
        usage = _usage(request, self.flavour.length)
        if request.get("tools"):
            calls = [self.flavour.call(call, False) for call in _calls(request)]
            return self._answer(
                [self._ended({"message": {"role": "assistant", "content": None, "tool_calls": calls}}, calls=True)],
                usage,
            )
        choices = [
            {"role": "assistant", "content": _said(request), "refusal": None} for _ in range(request.get("n", 1))
        ]
        made = [self._ended({"index": place, "message": said}) for place, said in enumerate(choices)]
        return self._answer(made, {**usage, **_total(usage, len(made))})

    def _chunks(self, request: Json) -> list[Json]:
        usage = _usage(request, self.flavour.length)
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        if request.get("tools"):
            pieces = _pieces(request) if self.flavour.in_pieces else _indexed(request)
            shaped = [self.flavour.call(piece, True) for piece in pieces]
            deltas += [{"tool_calls": piece if self.flavour.wraps_calls else [piece]} for piece in shaped]
        else:
            deltas += [{"content": word} for word in WORD.split(_said(request)) if word]
        choices = [
            [{"index": 0, "delta": delta, "finish_reason": None, **dict(self.flavour.choice)}] for delta in deltas
        ]
        choices.append([self._ended({"delta": {}}, calls=bool(request.get("tools")))])
        asked = bool((request.get("stream_options") or {}).get("include_usage"))
        return self._counted([self._answer(each, None) for each in choices], usage, asked=asked)

    def _counted(self, chunks: list[Json], usage: Json, *, asked: bool) -> list[Json]:
        if self.flavour.usage == "always":
            return [
                {**chunk, "usage": {**usage, "completion_tokens": place}} for place, chunk in enumerate(chunks[:-1])
            ] + [{**chunks[-1], "usage": usage}]
        if self.flavour.usage == "beside":
            return [*chunks[:-1], {**chunks[-1], "usage": usage}]
        return [*chunks, self._answer([], usage)] if asked else chunks

    def _ended(self, choice: Json, *, calls: bool = False) -> Json:
        reason = self.flavour.ends_calls if calls and "delta" in choice else "tool_calls" if calls else "stop"
        return {"index": 0, **choice, "finish_reason": reason, **dict(self.flavour.choice)}

    def _answer(self, choices: list[Json], usage: Json | None) -> Json:
        kind = "chat.completion" if choices and "message" in choices[0] else "chat.completion.chunk"
        own = {} if self.flavour.id is None else {"id": self.flavour.id}
        head = {**own, "object": kind, "created": 1, "model": "theirs", **dict(self.flavour.head)}
        return {**head, "choices": choices, "usage": usage}


def _said(request: Json) -> str:
    return f"echo: {request['messages'][-1]['content']}"


def _usage(request: Json, length: str) -> Json:
    written = min(request.get(length, 9), 6)
    return {"prompt_tokens": 7, "completion_tokens": written, "total_tokens": 7 + written}


def _total(usage: Json, answers: int) -> Json:
    written = usage["completion_tokens"] * answers
    return {"completion_tokens": written, "total_tokens": usage["prompt_tokens"] + written}


def _calls(request: Json) -> list[Json]:
    """Two calls of the first tool, for two cities."""
    name = request["tools"][0]["function"]["name"]
    made = [(city, msgspec.json.encode({"city": city}).decode()) for city in ("Paris", "Pune")]
    return [
        {"id": f"call_{city}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for city, arguments in made
    ]


def _indexed(request: Json) -> list[Json]:
    return [{"index": place, **call} for place, call in enumerate(_calls(request))]


def _pieces(request: Json) -> list[Json]:
    """The calls as they are streamed: a head each, then the arguments in pieces."""
    pieces: list[Json] = []
    for call in _indexed(request):
        arguments = call["function"]["arguments"]
        pieces.append({**call, "function": {"name": call["function"]["name"], "arguments": ""}})
        cut = [arguments[start : start + 5] for start in range(0, len(arguments), 5)]
        pieces += [{"index": call["index"], "function": {"arguments": piece}} for piece in cut]
    return pieces


async def _send(send: Any, status: int, kind: bytes, *pieces: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
