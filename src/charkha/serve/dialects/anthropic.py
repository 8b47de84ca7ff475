"""Anthropic's messages: what a request may hold, what it is in the internal form, what an error looks like.

Pure. Source of names and ranges: Anthropic's API reference (messages, count tokens, errors), version 2023-06-01.
`anthropic_answers` tells answers.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from charkha.core.errors import CharkhaError, Invalid
from charkha.core.records import Operation
from charkha.serve.dialects import checks, openai
from charkha.serve.dialects.anthropic_answers import MessageTelling
from charkha.serve.dialects.checks import Check, wrong
from charkha.serve.dialects.dialect import Dialect, Understood, event

VERSION_HEADER = b"anthropic-version"
_Part = dict[str, Any]

_PROMPT: dict[str, Check] = {
    "messages": checks.blocks_of(("user", "assistant", "system"), openai.MAX_MESSAGES),
    "model": checks.text(512),
    "output_config": checks.mapping,
    "system": checks.text_or_objects,
    "thinking": checks.mapping,
    "tool_choice": checks.mapping,
    "tools": checks.sequence(128),
    "variables": checks.texts_by_name,
}
_KNOWN: dict[str, Check] = {
    **_PROMPT,
    "max_tokens": checks.integer(1, 2**20),
    "metadata": checks.mapping,
    "stop_sequences": checks.strings(4, 256),
    "stream": checks.boolean,
    "temperature": checks.number(0, 1),
    "top_k": checks.integer(0, 2**20),
    "top_p": checks.number(0, 1),
}
# For Anthropic's own books and caches; accepted so that clients run unmodified, and not handed on.
_IGNORED = frozenset({"cache_control", "context_management", "diagnostics", "inference_geo", "service_tier", "speed"})
_SAME = ("max_tokens", "model", "stream", "temperature", "top_k", "top_p", "variables")
_EFFORTS = {"xhigh": "high", "max": "high"}
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})  # of the model that thought them, and sealed by its provider


def understand(body: bytes, operation: Operation) -> Understood:
    """A request in the internal form. Raises Invalid that names the field."""
    request = openai.parse(body)
    checks.fields(request, _KNOWN, ("model", "max_tokens", "messages"), _IGNORED)
    chat = chat_of(request)
    openai.check(chat, operation)
    return Understood(chat, MessageTelling)


def countable(body: bytes) -> dict[str, Any]:
    """The prompt that is to be counted, in the internal form. Raises Invalid that names the field."""
    request = openai.parse(body)
    checks.fields(request, _PROMPT, ("model", "messages"), _IGNORED)
    chat = chat_of(request)
    openai.check(chat, "chat")
    return chat


def chat_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The chat request that a request for a message is, its fields checked one by one before."""
    if not request["messages"] and request.get("variables") is None:
        raise wrong("messages", f"a list of 1 to {openai.MAX_MESSAGES} messages")
    chat = {name: request[name] for name in _SAME if request.get(name) is not None}
    chat["messages"] = [*_system(request.get("system")), *_messages(request["messages"])]
    if request.get("stop_sequences"):
        chat["stop"] = request["stop_sequences"]
    if user := (request.get("metadata") or {}).get("user_id"):
        chat["user"] = user
    if request.get("tools"):
        chat["tools"] = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(request["tools"])]
    return chat | _tool_choice(request.get("tool_choice")) | _output(request.get("output_config") or {})


def _system(system: str | list[_Part] | None) -> Iterator[dict[str, Any]]:
    if system:
        yield {"role": "system", "content": _content(system, "system", _text)}


def _messages(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for place, message in enumerate(messages):
        field, content = f"messages[{place}].content", message["content"]
        if isinstance(content, str):
            yield {"role": message["role"], "content": content}
        elif message["role"] == "assistant":
            yield _assistant(content, field)
        else:
            yield from _turns(message["role"], content, field)


def _assistant(blocks: list[_Part], field: str) -> dict[str, Any]:
    """What the assistant said and which tools it called. Its thoughts stay with the model that thought them."""
    said = [block for block in blocks if block["type"] not in _THOUGHTS and block["type"] != "tool_use"]
    calls = [_call(block, field) for block in blocks if block["type"] == "tool_use"]
    turn: dict[str, Any] = {"role": "assistant", "content": _content(said, field, _text) if said else None}
    return turn | {"tool_calls": calls} if calls else turn


def _call(block: _Part, field: str) -> dict[str, Any]:
    if type(block.get("id")) is not str or type(block.get("name")) is not str or type(block.get("input")) is not dict:
        raise wrong(field, "tool_use blocks with an id, a name and an input")
    arguments = msgspec.json.encode(block["input"]).decode()
    return {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": arguments}}


def _turns(role: str, blocks: list[_Part], field: str) -> Iterator[dict[str, Any]]:
    """The turns that one message is: each tool's result is a turn of its own, what stands between them another."""
    said: list[_Part] = []
    for block in blocks:
        if block["type"] != "tool_result":
            said.append(block)
            continue
        if said:
            yield {"role": role, "content": _content(said, field, _seen)}
            said = []
        yield _result(block, field)
    if said or not blocks:
        yield {"role": role, "content": _content(said, field, _seen)}


def _result(block: _Part, field: str) -> dict[str, Any]:
    content = block.get("content") or ""
    if type(block.get("tool_use_id")) is not str:
        raise wrong(field, "tool_result blocks with a tool_use_id")
    checks.text_or_objects(content, field)
    told = _content(content, field, _seen)
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": told}


def _content(content: str | list[_Part], field: str, part: Callable[[_Part, str], _Part]) -> str | list[_Part]:
    """Text as text, and so is a single block of it, which every engine reads; other blocks as content parts."""
    if isinstance(content, str):
        return content
    parts = [part(block, field) for block in content]
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _text(block: _Part, field: str) -> _Part:
    if block.get("type") != "text" or type(block.get("text")) is not str:
        raise wrong(field, f"text here, not a block of type '{str(block.get('type'))[:50]}'")
    return {"type": "text", "text": block["text"]}


def _seen(block: _Part, field: str) -> _Part:
    if block.get("type") != "image":
        return _text(block, field)
    source = block.get("source")
    match source:
        case {"type": "url", "url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
    raise wrong(field, "images with a source of type base64 or url")


def _tool(tool: _Part, field: str) -> dict[str, Any]:
    if tool.get("type") not in (None, "custom"):
        raise Invalid(
            f"'{field}': Charkha runs no tools of a provider, such as '{str(tool['type'])[:50]}'.",
            param=field,
            remedy="Describe the tool by name and input_schema, and run it in the application.",
        )
    if type(tool.get("name")) is not str or type(tool.get("input_schema")) is not dict:
        raise wrong(field, "a tool with a name and an input_schema")
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    function |= {name: tool[name] for name in ("description", "strict") if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _tool_choice(choice: Mapping[str, Any] | None) -> dict[str, Any]:
    if not choice:
        return {}
    kind = choice.get("type")
    words = {"auto": "auto", "any": "required", "none": "none"}
    wanted: Any = words.get(kind) if isinstance(kind, str) else None
    if kind == "tool" and type(choice.get("name")) is str:
        wanted = {"type": "function", "function": {"name": choice["name"]}}
    if wanted is None:
        raise wrong("tool_choice", "of type auto, any, none, or tool with a name")
    one = choice.get("disable_parallel_tool_use")
    return {"tool_choice": wanted} | ({} if one is None else {"parallel_tool_calls": not one})


def _output(config: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if (form := config.get("format")) is not None:
        if type(form) is not dict or form.get("type") != "json_schema" or type(form.get("schema")) is not dict:
            raise wrong("output_config.format", "of type json_schema, with a schema")
        schema = {"name": "answer", "schema": form["schema"], "strict": True}
        told["response_format"] = {"type": "json_schema", "json_schema": schema}
    if (effort := config.get("effort")) is not None:
        told["reasoning_effort"] = _EFFORTS.get(effort, effort) if isinstance(effort, str) else effort
    return told


def _error(error: CharkhaError) -> bytes:
    kind = _KINDS.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": str(error)}})


def _error_event(error: CharkhaError) -> bytes:
    return event("error", _error(error))


_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
DIALECT = Dialect(understand, _error, _error_event, b"request-id")
