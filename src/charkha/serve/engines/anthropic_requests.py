"""A chat as Anthropic's messages have it: the way out of the internal form, for an engine that speaks that API.

Pure. The way in, for clients that speak it, is `dialects.anthropic`. What a chat can say and a message cannot is refused
by name, so that no answer silently lacks what was asked for. Source: Anthropic's API reference, version 2023-06-01.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

_Json = dict[str, Any]

_SAME = ("model", "stream", "temperature", "top_k", "top_p")
_LENGTHS = ("max_completion_tokens", "max_tokens")
_TRANSLATED = frozenset(
    {
        *("messages", "parallel_tool_calls", "reasoning_effort", "response_format", "stop", "stream_options"),
        *("tool_choice", "tools", "user"),
    }
)
_KNOWN = _TRANSLATED.union(_SAME, _LENGTHS)
# What asks for nothing: clients send it as a matter of course, and leaving it out changes no answer.
_IDLE: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "n": (1,),
    "presence_penalty": (0,),
    "repeat_penalty": (1,),
    "top_logprobs": (0,),
}
_EFFORTS = {"minimal": "low", **{word: word for word in ("low", "medium", "high", "xhigh", "max")}}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_COUNTED = ("messages", "model", "output_config", "system", "tool_choice", "tools")


def message_of(chat: Mapping[str, Any], max_tokens: int) -> _Json:
    """The request for a message that a checked chat request is; `max_tokens` holds where it names no length.

    Raises ValueError that names what cannot be said.
    """
    _refuse_unknown(chat)
    told = {name: chat[name] for name in _SAME if name in chat}
    told["max_tokens"] = next((chat[name] for name in _LENGTHS if name in chat), max_tokens)
    told |= _conversation(chat["messages"])
    if "stop" in chat:
        told["stop_sequences"] = [chat["stop"]] if isinstance(chat["stop"], str) else chat["stop"]
    if "user" in chat:
        told["metadata"] = {"user_id": chat["user"]}
    if chat.get("tools"):
        told["tools"] = [_tool(tool) for tool in chat["tools"]]
    return told | _tool_choice(chat) | _output(chat)


def countable(chat: Mapping[str, Any]) -> _Json:
    """What is sent to have the tokens of a chat's prompt counted. Raises ValueError like `message_of`."""
    message = message_of(chat, 1)
    return {name: message[name] for name in _COUNTED if name in message}


def _refuse_unknown(chat: Mapping[str, Any]) -> None:
    for name, value in chat.items():
        if name not in _KNOWN and value not in _IDLE.get(name, ()):
            raise ValueError(f"Anthropic's API has no '{name}'")
    if isinstance(warmth := chat.get("temperature"), int | float) and warmth > 1:
        raise ValueError("Anthropic's API takes a 'temperature' of at most 1")


def _conversation(turns: Sequence[_Json]) -> _Json:
    """`system` and `messages`: what is said before the conversation begins has a field of its own."""
    first = next((place for place, turn in enumerate(turns) if not _instructs(turn)), len(turns))
    if first == len(turns):
        raise ValueError("Anthropic's API wants 'messages' of a user, not of the system alone")
    said = [told for turn in turns[:first] if (told := _content(turn["content"], _text))]
    spoken: _Json = {"messages": list(_messages(turns[first:]))}
    if said:
        spoken["system"] = said[0] if len(said) == 1 else [block for each in said for block in _blocks(each)]
    return spoken


def _instructs(turn: _Json) -> bool:
    return turn["role"] in ("system", "developer")


def _messages(turns: Sequence[_Json]) -> Iterator[_Json]:
    """The turns, all results of one round of tool calls in one message, as the API wants them."""
    results: list[_Json] = []
    for turn in turns:
        if turn["role"] == "tool":
            results.append(_result(turn))
            continue
        if results:
            yield {"role": "user", "content": results}
            results = []
        yield _message(turn)
    if results:
        yield {"role": "user", "content": results}


def _message(turn: _Json) -> _Json:
    role = "system" if _instructs(turn) else turn["role"]
    if role == "assistant":
        return {"role": role, "content": _assistant(turn)}
    if role == "function":
        raise ValueError("Anthropic's API has no messages of role 'function'; tools answer in the role 'tool'")
    return {"role": role, "content": _content(turn["content"], _part if role == "user" else _text)}


def _assistant(turn: _Json) -> str | list[_Json]:
    if turn.get("function_call"):
        raise ValueError("Anthropic's API has no 'function_call'; calls stand in 'tool_calls'")
    said = _content(turn.get("content") or "", _said)
    calls = turn.get("tool_calls")
    return [*(_blocks(said) if said else []), *map(_call, calls)] if calls else said


def _call(call: _Json) -> _Json:
    function = call.get("function")
    if not function:
        raise ValueError("Anthropic's API has no custom 'tool_calls', only functions")
    try:
        arguments = msgspec.json.decode(function["arguments"] or "{}", type=_Json)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the arguments of the call '{call['id'][:100]}' are no JSON object") from error
    return {"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments}


def _result(turn: _Json) -> _Json:
    return {"type": "tool_result", "tool_use_id": turn["tool_call_id"], "content": _content(turn["content"], _part)}


def _content(content: str | list[_Json], part: Callable[[_Json], _Json]) -> str | list[_Json]:
    """Text as it is, parts as blocks. The API refuses blocks without text, which say nothing."""
    if isinstance(content, str):
        return content
    return [part(each) for each in content if "" not in (each.get("text"), each.get("refusal"))]


def _blocks(content: str | list[_Json]) -> list[_Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(part: _Json) -> _Json:
    if part["type"] != "text":
        raise ValueError(f"Anthropic's API takes text here, not a content part of type '{part['type'][:50]}'")
    return {"type": "text", "text": part["text"]}


def _said(part: _Json) -> _Json:
    return {"type": "text", "text": str(part.get("refusal"))} if part["type"] == "refusal" else _text(part)


def _part(part: _Json) -> _Json:
    if part["type"] != "image_url":
        return _text(part)
    url = part["image_url"]["url"]
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, marked, data = url.removeprefix("data:").partition(";base64,")
    if not marked:
        raise ValueError("Anthropic's API takes an 'image_url' with data in base64, or one at a URL")
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def _tool(tool: _Json) -> _Json:
    if tool["type"] != "function":
        raise ValueError("Anthropic's API has no custom 'tools', only functions")
    function = tool["function"]
    told = {"name": function["name"], "input_schema": function.get("parameters", {"type": "object"})}
    return told | {name: function[name] for name in ("description", "strict") if function.get(name) is not None}


def _tool_choice(chat: Mapping[str, Any]) -> _Json:
    choice, parallel = chat.get("tool_choice"), chat.get("parallel_tool_calls")
    if isinstance(choice, dict):
        if choice["type"] != "function":
            raise ValueError(f"Anthropic's API has no 'tool_choice' of type '{choice['type'][:50]}'")
        told = {"type": "tool", "name": choice["function"]["name"]}
    elif choice or (chat.get("tools") and parallel is not None):
        told = {"type": _CHOICES[choice or "auto"]}
    else:
        return {}
    if parallel is not None and told["type"] != "none":
        told["disable_parallel_tool_use"] = not parallel
    return {"tool_choice": told}


def _output(chat: Mapping[str, Any]) -> _Json:
    config: _Json = {}
    form = chat.get("response_format") or {"type": "text"}
    if form["type"] == "json_schema":
        config["format"] = {"type": "json_schema", "schema": form["json_schema"].get("schema", {})}
    elif form["type"] != "text":
        raise ValueError(f"Anthropic's API has no 'response_format' of type '{form['type'][:50]}'; send a json_schema")
    if effort := chat.get("reasoning_effort"):
        if effort not in _EFFORTS:
            raise ValueError(f"Anthropic's API has no 'reasoning_effort' of '{effort}'")
        config["effort"] = _EFFORTS[effort]
    return {"output_config": config} if config else {}
