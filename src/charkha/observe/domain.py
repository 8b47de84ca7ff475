"""What the log means: which answers count as failures, and which conversation a stored request holds. Pure."""

import json
from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

import msgspec

from charkha.core.errors import NotFound
from charkha.core.messages import Message, Role

_ESCAPED = [
    f"\\{byte:03o}" if byte == 0 or byte > 127 else "\\\\" if byte == 92 else chr(byte).lower() for byte in range(256)
]
_ROLES = {**{role: role for role in get_args(Role)}, "developer": "system", "function": "tool"}
CALLS = ("tool_calls", "function_call")
"""How an answer ends that calls tools."""


def failed(status: int, error_code: str | None) -> bool:
    """Whether what answered is to blame: a status of 5xx, or a process that died.

    What the client did wrong (4xx), and a client that went away (499), say nothing about the variant.
    """
    return status >= 500 or error_code == "process_died"


def inference_id(text: str) -> UUID:
    """An inference's id from its UUID or from the id of an OpenAI answer, such as `chatcmpl-<uuid>`."""
    try:
        return UUID(text[-36:])
    except ValueError:
        raise NotFound(
            f"'{text[:80]}' is no id of an inference.", param="inference_id", remedy="Use the id that the answer had."
        ) from None


def prompt_of(request: bytes | None) -> tuple[Message, ...]:
    """The conversation in a stored request body: chat `messages`, or a completion's `prompt` as one user message.

    () where there is none, as for embeddings. Text is taken out of content parts; pictures and tool calls are left out.
    """
    if request is None:
        return ()
    try:
        body = msgspec.json.decode(request)
    except msgspec.DecodeError:
        return ()
    if not isinstance(body, dict):
        return ()
    if isinstance(body.get("prompt"), str):
        return (Message("user", body["prompt"]),)
    messages = body.get("messages")
    return tuple(_messages(messages)) if isinstance(messages, list) else ()


def spellings(text: str) -> tuple[bytes, ...]:
    """How a text can stand in the JSON that a client sent: as it is, in a string, and there with \\uXXXX and \\/."""
    whole, ascii_alone = (json.dumps(text, ensure_ascii=escaped)[1:-1] for escaped in (False, True))
    forms = dict.fromkeys((text, whole, ascii_alone, ascii_alone.replace("/", "\\/")))
    return tuple(form.encode() for form in forms)


def escaped(text: bytes) -> str:
    """Bytes as PostgreSQL's `lower(encode(…, 'escape'))` writes them: any bytes become ASCII, capitals small letters."""
    return "".join(_ESCAPED[byte] for byte in text)


def _messages(messages: list[Any]) -> Iterable[Message]:
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if isinstance(role, str) and role in _ROLES:
            yield Message(_ROLES[role], _text(message.get("content")))


def _text(content: Any) -> str:
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
