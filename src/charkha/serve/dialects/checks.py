"""Checks of single fields of a request: each is a function of value and field name that raises Invalid, or returns.

Pure, and made once: the hot path only calls them.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from charkha.core.errors import Invalid

Check = Callable[[Any, str], None]


def wrong(field: str, wanted: str) -> Invalid:
    """The error for a field that is not what it has to be."""
    return Invalid(f"Invalid '{field}': it has to be {wanted}.", param=field, code="invalid_value")


def fields(
    request: Mapping[str, Any], known: Mapping[str, Check], needed: Collection[str], ignored: Collection[str]
) -> None:
    """Raise Invalid, naming the field, unless all that is needed is there, and all that is there is known and right."""
    for field in needed:
        if request.get(field) is None:
            raise Invalid(
                f"You must provide '{field}'.", remedy="Add it.", param=field, code="missing_required_parameter"
            )
    for field, value in request.items():
        checked = known.get(field)
        if checked is None:
            if field in ignored:
                continue
            raise unknown(field, known)
        if value is not None:
            checked(value, field)


def unknown(field: str, known: Collection[str]) -> Invalid:
    """The error for a field that is not among those that are known."""
    return Invalid(
        f"Unknown parameter: '{field[:100]}'.",
        param=field[:100],
        code="unknown_parameter",
        remedy=f"Known: {', '.join(sorted(known))}.",
    )


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


def text(longest: int, shortest: int = 1) -> Check:
    """A string of `shortest` to `longest` characters."""

    def checked(value: Any, field: str) -> None:
        if type(value) is not str or not shortest <= len(value) <= longest:
            raise wrong(field, f"a string of {shortest} to {longest} characters")

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


def strings(most: int, longest: int) -> Check:
    """A list of at most `most` strings of 1 to `longest` characters."""

    def checked(value: Any, field: str) -> None:
        if type(value) is not list or len(value) > most or not all(_is_text(each, longest) for each in value):
            raise wrong(field, f"a list of at most {most} strings of 1 to {longest} characters")

    return checked


def _is_text(value: Any, longest: int) -> bool:
    return type(value) is str and 1 <= len(value) <= longest


def text_or_objects(value: Any, field: str) -> None:
    """A string, or a list of objects that have a type."""
    if type(value) is not str and not _are_typed(value):
        raise wrong(field, "a string or a list of objects with a type")


def text_or_object(value: Any, field: str) -> None:
    """A string or an object."""
    if type(value) not in (str, dict):
        raise wrong(field, "a string or an object")


def text_or_items(value: Any, field: str) -> None:
    """A string of one character or more, or a list of objects."""
    if not value or (
        type(value) is not str and not (type(value) is list and all(type(each) is dict for each in value))
    ):
        raise wrong(field, "a string or a list of objects, and not empty")


def _are_typed(value: Any) -> bool:
    return type(value) is list and all(type(each) is dict and type(each.get("type")) is str for each in value)


def blocks_of(roles: Collection[str], most: int) -> Check:
    """A conversation of content blocks: up to `most` objects with one of `roles` and a content."""

    def checked(value: Any, field: str) -> None:
        if type(value) is not list or len(value) > most:
            raise wrong(field, f"a list of 1 to {most} messages")
        for place, message in enumerate(value):
            if type(message) is not dict or type(role := message.get("role")) is not str or role not in roles:
                raise wrong(f"{field}[{place}].role", f"one of {', '.join(roles)}")
            text_or_objects(message.get("content"), f"{field}[{place}].content")

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


def texts_by_name(value: Any, field: str) -> None:
    """Texts by the names of the variables that they are values of, at most 256."""
    if type(value) is not dict or len(value) > 256:
        raise wrong(field, "an object from at most 256 names to strings")
    for name, each in value.items():
        if type(each) is not str:
            raise wrong(f"{field}.{name[:64]}", "a string")


def prompt_of_values(value: Any, field: str) -> None:
    """Values for a prompt, and by id and version the one that is expected; as OpenAI's clients name a prompt."""
    mapping(value, field)
    for name, each in value.items():
        if name == "variables":
            if each is not None:
                texts_by_name(each, f"{field}.variables")
        elif name not in ("id", "version"):
            raise unknown(f"{field}.{name}", ("id", "version", "variables"))
        elif each is not None:
            text(128)(each, f"{field}.{name}")


def identifier(value: Any, field: str) -> None:
    """A name for somebody or something: printable, 1 to 256 characters, so that it can stand in any log."""
    if type(value) is not str or not 1 <= len(value) <= 256 or not value.isprintable():
        raise wrong(field, "1 to 256 printable characters")


def stops(value: Any, field: str) -> None:
    """One stop string, or up to four."""
    listed = value if type(value) is list else [value]
    if len(listed) > 4 or not all(type(each) is str and 1 <= len(each) <= 256 for each in listed):
        raise wrong(field, "a string of 1 to 256 characters, or up to four")
