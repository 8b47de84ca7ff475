"""What people type into forms, as values for the API: lines, JSON, numbers, switches. Pure.

Only what could not even be sent is refused here; whether it is right is for the API to say.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from charkha.core.errors import Invalid

Form = Mapping[str, str]
_HOW = 'Write an object like {"temperature": 0, "max_tokens": 64}, or leave it empty.'


def text(form: Form, name: str) -> str | None:
    """A field without outer space; None where nothing was typed."""
    return form.get(name, "").strip() or None


def lines(form: Form, name: str) -> list[str] | None:
    """One value a line, empty lines left out; None where nothing was typed."""
    found = [line.strip() for line in form.get(name, "").splitlines()]
    return [line for line in found if line] or None


def checked(form: Form, name: str) -> bool:
    """Whether a box is ticked: a browser sends only those that are."""
    return name in form


def number(form: Form, name: str, label: str) -> float | None:
    """A number; None where nothing was typed. Raises Invalid for anything else."""
    typed = text(form, name)
    if typed is None:
        return None
    try:
        value = float(typed.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Invalid(f"{label}: '{typed[:40]}' is no number.", remedy="Write it like 3 or 0.5.", param=name)
    return value


def whole(form: Form, name: str, label: str) -> int | None:
    """A whole number; None where nothing was typed. Raises Invalid for anything else."""
    value = number(form, name, label)
    if value is not None and not value.is_integer():
        raise Invalid(f"{label}: {value:g} is no whole number.", remedy="Write it like 3.", param=name)
    return None if value is None else int(value)


def json_object(form: Form, name: str, label: str) -> dict[str, Any]:
    """A JSON object; {} where nothing was typed. Raises Invalid, which says where it stops being JSON."""
    typed = text(form, name)
    if typed is None:
        return {}
    try:
        value = msgspec.json.decode(typed)
    except (ValueError, RecursionError):
        raise Invalid(f"{label}: this is no JSON ({_wrong(typed)}).", remedy=_HOW, param=name) from None
    if not isinstance(value, dict):
        raise Invalid(f"{label}: this is JSON, but no object.", remedy=_HOW, param=name)
    return value


def _wrong(typed: str) -> str:
    """Where a text stops being JSON, and why."""
    try:
        json.loads(typed)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, RecursionError):
        return "it is nested too deeply"
    return "it holds a number or a character that nothing can stand for"
