"""What was said in a request, turn by turn, as pages show it: text, pictures, calls of tools, and what is none of these.

Pure. It reads the request as its client sent it, in any of OpenAI's forms; what it does not know it names and leaves out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

MOST_TURNS = 60
LARGEST_PICTURE = 700_000
"""Characters of a picture's own address: about 512 KiB of picture."""
_PICTURES = tuple(f"data:image/{kind};base64," for kind in ("png", "jpeg", "gif", "webp"))
_TOOLS_CALLED = ("tool_calls", "function_call")


@dataclass(frozen=True)
class Part:
    """A piece of a turn. A call has its tool's `name`, a picture its `source` if it may be shown."""

    kind: Literal["text", "picture", "call", "note"]
    text: str
    name: str = ""
    source: str = ""


@dataclass(frozen=True)
class Turn:
    """What one of those who talk said."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Conversation:
    """The turns, and how many earlier ones were left out."""

    turns: tuple[Turn, ...]
    left_out: int = 0


def asked(found: Mapping[str, Any]) -> Conversation:
    """What the request of an inference said, from the API's answer about it; the last 60 turns."""
    request = found["request"]
    turns = tuple(_turns(request)) if isinstance(request, dict) else ()
    if not turns:
        turns = tuple(Turn(each["role"], (Part("text", each["content"]),)) for each in found["prompt"])
    return Conversation(turns[-MOST_TURNS:], max(len(turns) - MOST_TURNS, 0))


def answered(found: Mapping[str, Any]) -> Turn | None:
    """What was answered, as far as the log keeps it; None where nothing was."""
    if found["answer"]:
        return Turn("assistant", (Part("text", found["answer"]),))
    if found["finish_reason"] in _TOOLS_CALLED:
        return Turn("assistant", (Part("note", "Called tools. The log keeps what is said; calls are not kept."),))
    if found["kept"] and found["status"] < 400 and found["operation"] != "embedding":
        return Turn("assistant", (Part("note", "Answered with no text."),))
    return None


def _turns(request: Mapping[str, Any]) -> Iterator[Turn]:
    messages = request.get("messages")
    if isinstance(messages, list):
        yield from (_turn(each) for each in messages if isinstance(each, dict))
        return
    said = request.get("prompt", request.get("input"))
    for each in said if isinstance(said, list) else [said]:
        if isinstance(each, str):
            yield Turn("user", (Part("text", each),))


def _turn(message: Mapping[str, Any]) -> Turn:
    parts = [*_content(message.get("content")), *_calls(message)]
    if message.get("refusal"):
        parts.append(Part("text", str(message["refusal"])))
    return Turn(_role(message), tuple(parts))


def _role(message: Mapping[str, Any]) -> str:
    role, name = str(message.get("role") or "user"), message.get("name") or message.get("tool_call_id")
    return f"{role} {name}" if name else role


def _content(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        yield Part("text", content)
    elif isinstance(content, list):
        yield from (_part(each) for each in content)


def _part(part: Any) -> Part:
    if isinstance(part, str):
        return Part("text", part)
    if not isinstance(part, dict):
        return Part("note", "Something that is neither text nor picture.")
    if isinstance(part.get("text"), str):
        return Part("text", part["text"])
    if part.get("type") == "image_url":
        return _picture(part.get("image_url"))
    return Part("note", f"A part of type {str(part.get('type'))[:60]}, in the request below.")


def _picture(given: Any) -> Part:
    address = str(given.get("url", "") if isinstance(given, dict) else given)
    if not address.startswith("data:"):
        return Part("picture", f"Picture at {address[:300]}, which pages do not load.")
    if address.startswith(_PICTURES) and len(address) <= LARGEST_PICTURE:
        return Part("picture", "Picture that was sent", source=address)
    return Part("picture", f"Picture of {len(address):,} characters, not shown.")


def _calls(message: Mapping[str, Any]) -> Iterator[Part]:
    calls = message.get("tool_calls")
    old = message.get("function_call")
    for call in [*(calls if isinstance(calls, list) else []), *([{"function": old}] if old else [])]:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield Part("call", _pretty(function.get("arguments")), name=str(function.get("name")))


def _pretty(arguments: Any) -> str:
    """JSON with line breaks where it is JSON, else as it is."""
    if not isinstance(arguments, str):
        return msgspec.json.format(msgspec.json.encode(arguments), indent=2).decode()
    try:
        return msgspec.json.format(arguments, indent=2)
    except msgspec.DecodeError:
        return arguments
