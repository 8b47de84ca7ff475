"""The way back: a chat request, told as the request of another dialect that it was translated from."""

import json
from typing import Any

Json = dict[str, Any]
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def anthropic_request(chat: Json) -> Json:
    """The request for a message that a chat request was."""
    told = {
        name: chat[name] for name in ("model", "max_tokens", "stream", "temperature", "top_k", "top_p") if name in chat
    }
    turns = chat["messages"]
    if turns[0]["role"] == "system":
        told["system"], turns = _blocks(turns[0]["content"]), turns[1:]
    told["messages"] = _anthropic_messages(turns)
    if "stop" in chat:
        told["stop_sequences"] = chat["stop"]
    if "user" in chat:
        told["metadata"] = {"user_id": chat["user"]}
    if "tools" in chat:
        told["tools"] = [_anthropic_tool(tool["function"]) for tool in chat["tools"]]
    if "tool_choice" in chat:
        choice = chat["tool_choice"]
        named = isinstance(choice, dict)
        told["tool_choice"] = (
            {"type": "tool", "name": choice["function"]["name"]} if named else {"type": _CHOICES[choice]}
        )
        if "parallel_tool_calls" in chat:
            told["tool_choice"]["disable_parallel_tool_use"] = not chat["parallel_tool_calls"]
    if "response_format" in chat:
        schema = chat["response_format"]["json_schema"]["schema"]
        told["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return told


def _anthropic_tool(function: Json) -> Json:
    return {"input_schema" if name == "parameters" else name: value for name, value in function.items()}


def _anthropic_messages(turns: list[Json]) -> list[Json]:
    messages: list[Json] = []
    for turn in turns:
        if turn["role"] == "tool":
            result = {"type": "tool_result", "tool_use_id": turn["tool_call_id"], "content": _blocks(turn["content"])}
            if not (messages and messages[-1]["role"] == "user"):
                messages.append({"role": "user", "content": []})
            messages[-1]["content"].append(result)
        elif "tool_calls" in turn:
            messages.append({"role": "assistant", "content": [*_as_blocks(turn["content"]), *_uses(turn)]})
        else:
            messages.append({"role": turn["role"], "content": _blocks(turn["content"])})
    return messages


def _uses(turn: Json) -> list[Json]:
    return [
        {
            "type": "tool_use",
            "id": call["id"],
            "name": call["function"]["name"],
            "input": json.loads(call["function"]["arguments"]),
        }
        for call in turn["tool_calls"]
    ]


def _as_blocks(content: Any) -> list[Json]:
    if content is None:
        return []
    blocks = _blocks(content)
    return [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks


def _blocks(content: Any) -> Any:
    return content if isinstance(content, str) else [_block(part) for part in content]


def _block(part: Json) -> Json:
    if part["type"] != "image_url":
        return part
    url: str = part["image_url"]["url"]
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def responses_request(chat: Json) -> Json:
    """The request for a response that a chat request was."""
    same = ("model", "parallel_tool_calls", "stream", "temperature", "top_logprobs", "top_p", "user", "tool_choice")
    told = {name: chat[name] for name in same if name in chat}
    turns = chat["messages"]
    if turns[0]["role"] == "system":
        told["instructions"], turns = turns[0]["content"], turns[1:]
    told["input"] = [item for turn in turns for item in _items(turn)]
    if "max_completion_tokens" in chat:
        told["max_output_tokens"] = chat["max_completion_tokens"]
    if "tools" in chat:
        told["tools"] = [{"type": "function", **tool["function"]} for tool in chat["tools"]]
    if isinstance(chat.get("tool_choice"), dict):
        told["tool_choice"] = {"type": "function", **chat["tool_choice"]["function"]}
    if "reasoning_effort" in chat:
        told["reasoning"] = {"effort": chat["reasoning_effort"]}
    if "response_format" in chat:
        form = chat["response_format"]
        told["text"] = {"format": {"type": form["type"], **form.get("json_schema", {})}}
    return told


def _items(turn: Json) -> list[Json]:
    if turn["role"] == "tool":
        output = _parts(turn["content"], "input_text")
        return [{"type": "function_call_output", "call_id": turn["tool_call_id"], "output": output}]
    kind = "output_text" if turn["role"] == "assistant" else "input_text"
    items = []
    if turn["content"] is not None:
        items = [{"type": "message", "role": turn["role"], "content": _parts(turn["content"], kind)}]
    return items + [
        {"type": "function_call", "call_id": call["id"], **call["function"]} for call in turn.get("tool_calls", [])
    ]


def _parts(content: Any, text: str) -> Any:
    if isinstance(content, str):
        return content
    return [_part(part, text) for part in content]


def _part(part: Json, text: str) -> Json:
    if part["type"] == "image_url":
        return {"type": "input_image", "image_url": part["image_url"]["url"]}
    return {**part, "type": text} if part["type"] == "text" else part
