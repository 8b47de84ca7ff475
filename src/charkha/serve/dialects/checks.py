"""Checks of single fields of a request: each is a function of value and field name that raises Invalid, or returns.

Pure, and made once: the hot path only calls them.
"""

from collections.abc import Callable
from typing import Any

from charkha.core.errors import Invalid

Check = Callable[[Any, str], None]
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def wrong(field: str, wanted: str) -> Invalid:
    """The error for a field that is not what it has to be."""
    return Invalid(f"Invalid '{field}': it has to be {wanted}.", param=field, code="invalid_value")


def integer(least: int, most: int) -> Check:
    """A whole number in a range, both ends included."""

    def checked(value: Any, field: str) -> None:
        if type(value) is not int or not least <= value <= most:
            raise wrong(field, f"a whole number from {least} to {most}")

    return checked


def number(least: float, most: float) -> Check:
    """A number in a range, both ends included."""

    def checked(value: Any, field: str) -> None:
        if type(value) not in (int, float) or not least <= value <= most:
            raise wrong(field, f"a number from {least} to {most}")

    return checked


def text(longest: int) -> Check:
    """A string of 1 to `longest` characters."""

    def checked(value: Any, field: str) -> None:
        if type(value) is not str or not 1 <= len(value) <= longest:
            raise wrong(field, f"a string of 1 to {longest} characters")

    return checked


def one_of(*words: str) -> Check:
    """One of a few words."""

    def checked(value: Any, field: str) -> None:
        if value not in words:
            raise wrong(field, f"one of {', '.join(words)}")

    return checked


def sequence(longest: int) -> Check:
    """A list of at most `longest` objects."""

    def checked(value: Any, field: str) -> None:
        if type(value) is not list or len(value) > longest or not all(type(each) is dict for each in value):
            raise wrong(field, f"a list of at most {longest} objects")

    return checked


def boolean(value: Any, field: str) -> None:
    """True or false."""
    if type(value) is not bool:
        raise wrong(field, "true or false")


def mapping(value: Any, field: str) -> None:
    """A JSON object."""
    if type(value) is not dict:
        raise wrong(field, "an object")


def biases(value: Any, field: str) -> None:
    """Biases from -100 to 100 by token, at most 1,024."""
    if type(value) is not dict or len(value) > 1024 or not all(token.isdecimal() for token in value):
        raise wrong(field, "an object from at most 1024 tokens to numbers")
    for bias in value.values():
        number(-100, 100)(bias, field)


def anything(value: Any, field: str) -> None:
    """A string or an object."""
    if type(value) not in (str, dict):
        raise wrong(field, "a string or an object")


def identifier(value: Any, field: str) -> None:
    """A name for somebody or something: printable, 1 to 256 characters, so that it can stand in any log."""
    if type(value) is not str or not 1 <= len(value) <= 256 or not value.isprintable():
        raise wrong(field, "1 to 256 printable characters")


def stops(value: Any, field: str) -> None:
    """One stop string, or up to four."""
    listed = value if type(value) is list else [value]
    if len(listed) > 4 or not all(type(each) is str and 1 <= len(each) <= 256 for each in listed):
        raise wrong(field, "a string of 1 to 256 characters, or up to four")


def messages(most: int) -> Check:
    """A conversation: 1 to `most` objects with a role and a content that is text, a list of parts, or absent."""

    def checked(value: Any, field: str) -> None:
        if type(value) is not list or not 1 <= len(value) <= most:
            raise wrong(field, f"a list of 1 to {most} messages")
        for place, message in enumerate(value):
            if type(message) is not dict or type(role := message.get("role")) is not str or role not in _ROLES:
                raise wrong(f"{field}[{place}].role", f"one of {', '.join(sorted(_ROLES))}")
            _content(message, f"{field}[{place}].content")

    return checked


def _content(message: dict[str, Any], field: str) -> None:
    content = message.get("content")
    if type(content) is str:
        return
    if content is None:
        if message["role"] == "assistant":
            return  # an assistant may have answered with tool calls alone
    elif type(content) is list and all(type(part) is dict and type(part.get("type")) is str for part in content):
        return
    raise wrong(field, "a string or a list of content parts")


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
