"""The OpenAI wire format: what a request may hold, what an engine is sent, what an error looks like.

Pure. Fields are allow-listed and their ranges checked here, so that no engine, least of all a native one, meets what
it was not made for. Source of names and ranges: the OpenAI API reference (chat completions, completions, embeddings).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from charkha.core.errors import CharkhaError, Invalid
from charkha.core.records import Operation
from charkha.serve.dialects import chat_checks, checks
from charkha.serve.dialects.checks import Check
from charkha.serve.dialects.dialect import Dialect, Understood

MAX_MESSAGES, MAX_INPUTS = 10_000, 2_048

_SAMPLING: dict[str, Check] = {
    "frequency_penalty": checks.number(-2, 2),
    "logit_bias": checks.biases,
    "max_tokens": checks.integer(1, 2**20),
    "n": checks.integer(1, 16),
    "presence_penalty": checks.number(-2, 2),
    "seed": checks.integer(-(2**63), 2**63 - 1),
    "stop": checks.stops,
    "temperature": checks.number(0, 2),
    "top_p": checks.number(0, 1),
    # Beyond OpenAI, but spoken by llama.cpp, vLLM and Ollama alike.
    "min_p": checks.number(0, 1),
    "repeat_penalty": checks.number(0, 10),
    "top_k": checks.integer(0, 2**20),
}
_CHAT: dict[str, Check] = {
    **_SAMPLING,
    "logprobs": checks.boolean,
    "max_completion_tokens": checks.integer(1, 2**20),
    "parallel_tool_calls": checks.boolean,
    "reasoning_effort": checks.text(32),
    "response_format": chat_checks.response_format,
    "tool_choice": chat_checks.tool_choice,
    "tools": chat_checks.tools(128),
    "top_logprobs": checks.integer(0, 20),
}
_COMPLETION: dict[str, Check] = {
    **_SAMPLING,
    "best_of": checks.integer(1, 16),
    "echo": checks.boolean,
    "logprobs": checks.integer(0, 20),
    "suffix": checks.text(2**20),
}
_EMBEDDING: dict[str, Check] = {
    "dimensions": checks.integer(1, 2**16),
    "encoding_format": checks.one_of("float", "base64"),
}
_FORWARDED: Mapping[Operation, Mapping[str, Check]] = {
    "chat": {**_CHAT, "messages": chat_checks.messages(MAX_MESSAGES)},
    "completion": {**_COMPLETION, "prompt": chat_checks.prompts(MAX_INPUTS)},
    "embedding": {**_EMBEDDING, "input": chat_checks.prompts(MAX_INPUTS)},
}
_NEEDED: Mapping[Operation, str] = {"chat": "messages", "completion": "prompt", "embedding": "input"}
_OURS: Mapping[str, Check] = {
    "model": checks.text(512),
    "stream": checks.boolean,
    "stream_options": checks.mapping,
    "user": checks.identifier,
}
# What the prompt of an endpoint is rendered with: for Charkha, and never for an engine.
_RENDERED: Mapping[Operation, Mapping[str, Check]] = {
    "chat": {"prompt": checks.prompt_of_values, "variables": checks.texts_by_name},
    "completion": {},
    "embedding": {},
}
_KNOWN: Mapping[Operation, Mapping[str, Check]] = {
    each: {**known, **_RENDERED[each], **_OURS} for each, known in _FORWARDED.items()
}
# For OpenAI's own books; accepted so that clients run unmodified, and not handed on.
_IGNORED = frozenset(
    {
        *("metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier"),
        *("service_tier", "store", "verbosity"),
    }
)
_LENGTHS = ("max_tokens", "max_completion_tokens")  # two names for one limit: engines refuse both at once


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises Invalid."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The body is not JSON: {error}.", code="invalid_json", remedy="Send one JSON object.") from error
    if not isinstance(request, dict):
        raise Invalid("The body is not a JSON object.", code="invalid_json", remedy="Send one JSON object.")
    return request


def check(request: Mapping[str, Any], operation: Operation) -> None:
    """Raise Invalid, naming the field, unless a request is whole, of the right types and inside its ranges."""
    checks.fields(request, _KNOWN[operation], ("model", _NEEDED[operation]), _IGNORED)
    if operation == "embedding" and request.get("stream"):
        raise Invalid("Embeddings are not streamed.", param="stream", remedy="Leave it out.")


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise Invalid for default parameters of a variant that a request could not carry."""
    for field, value in parameters.items():
        checked = _CHAT.get(field)
        if checked is None or value is None:
            raise Invalid(
                f"'{field[:100]}' is no parameter of an answer.",
                param="parameters",
                remedy=f"Known: {', '.join(sorted(_CHAT))}.",
            )
        checked(value, field)
    if b"\\u0000" in msgspec.json.encode(parameters):
        raise Invalid("Parameters hold no NUL characters.", remedy="Leave them out.", param="parameters")


def upstream_body(
    request: Mapping[str, Any],
    operation: Operation,
    *,
    model: str,
    system_prompt: str | None,
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """What the engine is sent: the request's own words, under them the variant's defaults and system prompt.

    The system prompt is put first unless the request brings one; usage is always asked for, since the log counts it.
    """
    known = _FORWARDED[operation]
    body = {field: value for field, value in parameters.items() if field in known}
    if parameters and any(request.get(field) is not None for field in _LENGTHS):
        body = {field: value for field, value in body.items() if field not in _LENGTHS}
    body |= {field: value for field, value in request.items() if field in known and value is not None}
    body["model"] = model
    if operation == "chat" and system_prompt and body["messages"][0]["role"] not in ("system", "developer"):
        body["messages"] = [{"role": "system", "content": system_prompt}, *body["messages"]]
    if request.get("stream"):
        body["stream"], body["stream_options"] = True, {"include_usage": True}
    return body


def wants_usage(request: Mapping[str, Any]) -> bool:
    """Whether a streaming client asked for the last chunk with the usage."""
    return bool((request.get("stream_options") or {}).get("include_usage"))


def error_body(error: CharkhaError) -> dict[str, Any]:
    """An error as OpenAI's clients understand it; the remedy is part of the message."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    told = {"message": str(error), "type": _KINDS.get(error.status, kind), "param": error.param, "code": error.code}
    return {"error": told}


def _understand(body: bytes, operation: Operation) -> Understood:
    request = parse(body)
    check(request, operation)
    return Understood(request)


def _error(error: CharkhaError) -> bytes:
    return msgspec.json.encode(error_body(error))


def _error_event(error: CharkhaError) -> bytes:
    return b"data: " + _error(error) + b"\n\n"


DIALECT = Dialect(_understand, _error, _error_event)
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def model_body(name: str, created: int) -> dict[str, Any]:
    """A model as /v1/models shows it; `created` in seconds since the epoch, 0 where it has no date."""
    return {"id": name, "object": "model", "created": created, "owned_by": "charkha"}
