"""Checks of what makes up a chat request: its messages and their parts, tools, the wanted form of the answer; prompts.

Pure, like `checks`, whose form they have.
"""

from typing import Any

from charkha.serve.dialects.checks import Check, mapping, sequence, wrong

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def messages(most: int) -> Check:
    """A conversation: up to `most` objects with a role and a content that is text, a list of parts, or absent.

    Whether it may be empty is known once it is known what answers: a prompt may bring the messages.
    """

    def checked(value: Any, field: str) -> None:
        if type(value) is not list or len(value) > most:
            raise wrong(field, f"a list of 1 to {most} messages")
        for place, message in enumerate(value):
            if type(message) is not dict or type(role := message.get("role")) is not str or role not in _ROLES:
                raise wrong(f"{field}[{place}].role", f"one of {', '.join(sorted(_ROLES))}")
            _content(message, f"{field}[{place}].content")
            if role == "tool" and type(message.get("tool_call_id")) is not str:
                raise wrong(f"{field}[{place}].tool_call_id", "the id of the call that this answers")
            if (calls := message.get("tool_calls")) is not None:
                _tool_calls(calls, f"{field}[{place}].tool_calls")

    return checked


def _content(message: dict[str, Any], field: str) -> None:
    content = message.get("content")
    if type(content) is str:
        return
    if content is None:
        if message["role"] == "assistant":
            return  # an assistant may have answered with tool calls alone
    elif type(content) is list and all(_is_part(part) for part in content):
        return
    raise wrong(field, "a string or a list of content parts")


def _is_part(part: Any) -> bool:
    """Whether a content part is whole: text and pictures are looked at, other kinds are for the engine to judge."""
    if type(part) is not dict or type(kind := part.get("type")) is not str:
        return False
    if kind == "text":
        return type(part.get("text")) is str
    if kind == "image_url":
        return type(image := part.get("image_url")) is dict and type(image.get("url")) is str
    return True


def _tool_calls(value: Any, field: str) -> None:
    if type(value) is not list:
        raise wrong(field, "a list of tool calls")
    for place, call in enumerate(value):
        if type(call) is not dict or type(call.get("id")) is not str:
            raise wrong(f"{field}[{place}]", "an object with an id and a function")
        kind, given = ("custom", "input") if call.get("type") == "custom" else ("function", "arguments")
        named = call.get(kind)
        if type(named) is not dict or type(named.get("name")) is not str or type(named.get(given)) is not str:
            raise wrong(f"{field}[{place}].{kind}", f"an object with a name and {given}, both strings")


def tools(most: int) -> Check:
    """At most `most` functions that a model may call."""

    def checked(value: Any, field: str) -> None:
        sequence(most)(value, field)
        for place, tool in enumerate(value):
            kind = tool.get("type")
            named = tool.get(kind) if kind in ("function", "custom") else None
            if type(named) is not dict or type(named.get("name")) is not str:
                raise wrong(f"{field}[{place}]", 'an object of type "function" with a function that has a name')

    return checked


def tool_choice(value: Any, field: str) -> None:
    """Whether and which tools are to be called: a word, or an object that names a function."""
    if type(value) is dict:
        value = value.get("type")
        if value in ("function", "custom", "allowed_tools"):
            return
    if value not in ("none", "auto", "required"):
        raise wrong(field, "none, auto, required or an object that names a function")


def response_format(value: Any, field: str) -> None:
    """What an answer is to be: text, JSON, or JSON by a named schema."""
    mapping(value, field)
    if (kind := value.get("type")) not in ("text", "json_object", "json_schema"):
        raise wrong(f"{field}.type", "one of text, json_object, json_schema")
    if kind == "json_schema":
        schema = value.get("json_schema")
        named = type(schema) is dict and type(schema.get("name")) is str
        if not named or type(schema.get("schema", {})) is not dict:
            raise wrong(f"{field}.json_schema", "an object with a name and a schema")


def prompts(most: int) -> Check:
    """Text, tokens, or a list of 1 to `most` texts or token lists."""

    def checked(value: Any, field: str) -> None:
        if type(value) is str:
            return
        if type(value) is list and value:
            if all(_is_token(each) for each in value):
                return
            if len(value) <= most and all(type(each) is str or _is_tokens(each) for each in value):
                return
        raise wrong(field, f"a string, a list of tokens, or a list of 1 to {most} of these")

    return checked


def _is_token(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_tokens(value: Any) -> bool:
    return type(value) is list and bool(value) and all(_is_token(each) for each in value)
