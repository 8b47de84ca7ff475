"""OpenAI's responses, without their memory: what a request may hold, and what it is in the internal form.

Pure. Source of names: the OpenAI API reference (responses). A conversation is sent whole each time: nothing is stored
under an id of OpenAI's, so what names such an id is refused by name. `responses_answers` tells answers.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from charkha.core.errors import CharkhaError, Invalid
from charkha.core.records import Operation
from charkha.serve.dialects import checks, openai
from charkha.serve.dialects.checks import Check, wrong
from charkha.serve.dialects.dialect import Dialect, Understood, event
from charkha.serve.dialects.responses_answers import ResponseTelling

_Part = dict[str, Any]
_LOGPROBS = "message.output_text.logprobs"


def _refused(what: str, remedy: str) -> Check:
    """A field that is only taken where it asks for nothing."""

    def checked(value: Any, field: str) -> None:
        if value is not False:
            raise Invalid(f"'{field}': {what}.", param=field, remedy=remedy, code="unsupported_parameter")

    return checked


_STATELESS = "no response is kept to go on from"
_KNOWN: dict[str, Check] = {
    "background": _refused("a response is not made in the background", "Leave it out, and stream the response."),
    "conversation": _refused(_STATELESS, "Send the whole conversation as input."),
    "include": checks.strings(32, 256),
    "input": checks.text_or_items,
    "instructions": checks.text(2**20, shortest=0),
    "max_output_tokens": checks.integer(1, 2**20),
    "metadata": checks.mapping,
    "model": checks.text(512),
    "parallel_tool_calls": checks.boolean,
    "previous_response_id": _refused(_STATELESS, "Send the whole conversation as input."),
    "prompt": checks.prompt_of_values,
    "reasoning": checks.mapping,
    "store": _refused("no response is stored under its id", "Leave it out, or send false; the log is at /inferences."),
    "stream": checks.boolean,
    "stream_options": checks.mapping,
    "temperature": checks.number(0, 2),
    "text": checks.mapping,
    "tool_choice": checks.text_or_object,
    "tools": checks.sequence(128),
    "top_logprobs": checks.integer(0, 20),
    "top_p": checks.number(0, 1),
    "truncation": checks.one_of("disabled"),
    "user": checks.identifier,
    "variables": checks.texts_by_name,
}
_IGNORED = frozenset(
    {
        *("context_management", "max_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        *("safety_identifier", "service_tier"),
    }
)
_SAME = (
    *("metadata", "model", "parallel_tool_calls", "prompt", "stream", "temperature", "top_logprobs", "top_p", "user"),
    "variables",
)
_ECHOED = (
    *("instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "reasoning", "temperature", "text"),
    *("tool_choice", "tools", "top_logprobs", "top_p", "user"),
)


def understand(body: bytes, operation: Operation) -> Understood:
    """A request in the internal form. Raises Invalid that names the field."""
    request = openai.parse(body)
    brings_prompt = request.get("prompt") is not None or request.get("variables") is not None
    checks.fields(request, _KNOWN, ("model",) if brings_prompt else ("model", "input"), _IGNORED)
    chat = chat_of(request)
    openai.check(chat, operation)
    echo = {name: request[name] for name in _ECHOED if request.get(name) is not None}
    return Understood(chat, functools.partial(ResponseTelling, echo))


def chat_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The chat request that a request for a response is, its fields checked one by one before."""
    chat = {name: request[name] for name in _SAME if request.get(name) is not None}
    instructions = request.get("instructions")
    turns = [{"role": "system", "content": instructions}] if instructions else []
    chat["messages"] = turns + _turns(request.get("input") or [])
    if request.get("max_output_tokens"):
        chat["max_completion_tokens"] = request["max_output_tokens"]
    if request.get("top_logprobs") or _LOGPROBS in (request.get("include") or ()):
        chat["logprobs"] = True
    if request.get("tools"):
        chat["tools"] = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(request["tools"])]
    if (choice := request.get("tool_choice")) is not None:
        chat["tool_choice"] = _tool_choice(choice)
    if (effort := (request.get("reasoning") or {}).get("effort")) is not None:
        chat["reasoning_effort"] = effort
    return chat | _format((request.get("text") or {}).get("format"))


def _turns(given: str | list[_Part]) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    turns: list[dict[str, Any]] = []
    for place, item in enumerate(given):
        kind = item.get("type", "message")
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is None:
            raise _cannot(f"input[{place}]", f"an item of type '{str(kind)[:50]}' cannot be read here")
        reader(item, f"input[{place}]", turns)
    return turns


def _message(item: _Part, field: str, turns: list[dict[str, Any]]) -> None:
    role = item.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        raise wrong(f"{field}.role", "one of user, assistant, system, developer")
    checks.text_or_objects(item.get("content"), f"{field}.content")
    turns.append({"role": role, "content": _content(item["content"], f"{field}.content")})


def _called(item: _Part, field: str, turns: list[dict[str, Any]]) -> None:
    """A call belongs to what the assistant has just said, or to the call before it."""
    told = {name: item.get(name) for name in ("call_id", "name", "arguments")}
    if not all(type(value) is str for value in told.values()):
        raise wrong(field, "a call with a call_id, a name and arguments, all strings")
    function = {"name": told["name"], "arguments": told["arguments"]}
    if not turns or turns[-1]["role"] != "assistant":
        turns.append({"role": "assistant", "content": None})
    turns[-1].setdefault("tool_calls", []).append({"id": told["call_id"], "type": "function", "function": function})


def _returned(item: _Part, field: str, turns: list[dict[str, Any]]) -> None:
    if type(item.get("call_id")) is not str:
        raise wrong(f"{field}.call_id", "the id of the call that this is the output of")
    checks.text_or_objects(item.get("output"), f"{field}.output")
    content = _content(item["output"], f"{field}.output")
    turns.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})


def _thought(item: _Part, field: str, turns: list[dict[str, Any]]) -> None:
    """Thoughts stay with the model that thought them."""


_READERS: Mapping[str, Callable[[_Part, str, list[dict[str, Any]]], None]] = {
    "message": _message,
    "function_call": _called,
    "function_call_output": _returned,
    "reasoning": _thought,
}


def _content(content: str | list[_Part], field: str) -> str | list[_Part]:
    """Text as text, and so is a single part of it, which every engine reads; other parts as content parts."""
    if isinstance(content, str):
        return content
    parts = [_part(part, field) for part in content]
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _part(part: _Part, field: str) -> _Part:
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "refusal", "refusal": str(refusal)}:
            return {"type": "refusal", "refusal": refusal}
        case {"type": "input_image", "image_url": str(url)}:
            detail = {"detail": part["detail"]} if part.get("detail") else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
    raise _cannot(field, f"a part of type '{str(part['type'])[:50]}' cannot be read here")


def _tool(tool: _Part, field: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise _cannot(field, f"Charkha runs no tools of a provider, such as '{str(tool.get('type'))[:50]}'")
    if type(tool.get("name")) is not str:
        raise wrong(field, "a function with a name")
    told = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: tool[name] for name in told if tool.get(name) is not None}}


def _tool_choice(choice: str | Mapping[str, Any]) -> Any:
    match choice:
        case "none" | "auto" | "required":
            return choice
        case {"type": "function", "name": str(name)}:
            return {"type": "function", "function": {"name": name}}
    raise wrong("tool_choice", "none, auto, required, or of type function with a name")


def _format(form: Any) -> dict[str, Any]:
    match form:
        case None | {"type": "text"}:
            return {}
        case {"type": "json_object"}:
            return {"response_format": {"type": "json_object"}}
        case {"type": "json_schema", "name": str(), "schema": dict()}:
            told = {name: form[name] for name in ("name", "schema", "strict", "description") if name in form}
            return {"response_format": {"type": "json_schema", "json_schema": told}}
    raise wrong("text.format", "of type text, json_object, or json_schema with a name and a schema")


def _cannot(field: str, what: str) -> Invalid:
    remedy = "Send messages of text and pictures, function calls and their outputs."
    return Invalid(f"'{field}': {what}.", param=field, remedy=remedy, code="unsupported_value")


def _error(error: CharkhaError) -> bytes:
    return msgspec.json.encode(openai.error_body(error))


def _error_event(error: CharkhaError) -> bytes:
    told = {"type": "error", "code": error.code, "message": str(error), "param": error.param}
    return event("error", msgspec.json.encode(told))


DIALECT = Dialect(understand, _error, _error_event)
