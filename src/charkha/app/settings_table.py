"""The settings as a table for people: each key, its value, where that came from, what it is for. Secrets are masked."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from charkha.app.settings import Settings, environment_name, read_file

_SECRET_NAME = re.compile(r"key|token|secret|password|authorization", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^:@/]*):[^@]*@")
MASK = "••••"


@dataclass(frozen=True)
class Setting:
    """One row. `source` is "default", "file", "option" or the name of the environment variable."""

    key: str
    value: str
    source: str
    description: str
    variable: str


def describe(settings: Settings) -> list[Setting]:
    """Every setting that there is, in the order of the class."""
    file = read_file()
    return [
        Setting(key, _shown(key, value), _source(settings, key, file), description, environment_name(key))
        for key, value, description in _leaves(settings)
    ]


def _leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.description or ""


def _source(settings: Settings, key: str, file: dict[str, Any]) -> str:
    section, _, _ = key.partition(".")
    for variable in (environment_name(key), environment_name(section)):
        if os.environ.get(variable):
            return variable
    if _within(file, key):
        return "file"
    return "option" if "." not in key and key in settings.model_fields_set else "default"


def _within(table: object, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(table, dict) or part not in table:
            return False
        table = table[part]
    return True


def _shown(key: str, value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, dict):
        inner = ", ".join(f"{name}: {_shown(name, item)}" for name, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(key, item) for item in value) + "]"
    if _SECRET_NAME.search(key) and key != "tls_key":
        return MASK
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", str(value))
