"""The settings as a table for people: each key, its value, where that came from, what it is for. Secrets are masked.

Owns CHARKHA_HANDED_DOWN as well: `charkha up` gives its parts some settings by their environment, and says by that
variable where it had them from itself, so that the table of a part tells what a person did.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from charkha.app.settings import PREFIX, Settings, conventional_home, default_home, environment_name, read_file

HANDED_DOWN = f"{PREFIX}HANDED_DOWN"
MASK = "••••"
ABSENT = "—"
_SECRET_NAME = re.compile(r"key|token|secret|password|authorization|credential|cookie", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^:@/]*):[^@]*@")
_URL_QUERY = re.compile(r"([?&][^=&]*(?:key|token|secret|password)[^=&]*=)[^&]*", re.IGNORECASE)


@dataclass(frozen=True)
class Setting:
    """One row. `source` is "default", "file", "option" or the name of the environment variable."""

    key: str
    value: str
    source: str
    description: str
    variable: str
    default: str


def describe(settings: Settings, mask: str = MASK) -> list[Setting]:
    """Every setting that there is, in the order of the class; `mask` stands for each that is secret."""
    file = read_file()
    return [
        Setting(
            key,
            _shown(key, value, mask),
            _source(settings, key, file),
            field.description or "",
            environment_name(key),
            _shown(key, _default(field), mask),
        )
        for key, value, field in _leaves(settings)
    ]


def handed_down(settings: Settings, *keys: str) -> dict[str, str]:
    """The environment by which a part is told where these settings came from, which it gets by its environment."""
    sources = {row.key: row.source for row in describe(settings)}
    return {HANDED_DOWN: " ".join(f"{key}={sources[key]}" for key in keys)}


def _leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, FieldInfo]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field


def _default(field: FieldInfo) -> Any:
    if field.default_factory is default_home:  # which CHARKHA_HOME changes
        return conventional_home()
    return field.get_default(call_default_factory=True)


def _source(settings: Settings, key: str, file: dict[str, Any]) -> str:
    handed = dict(word.split("=", 1) for word in os.environ.get(HANDED_DOWN, "").split() if "=" in word)
    if key in handed:
        return handed[key]
    if key in settings.options:
        return "option"
    section, _, _ = key.partition(".")
    for variable in (environment_name(key), environment_name(section)):
        if os.environ.get(variable):
            return variable
    return "file" if _within(file, key) else "default"


def _within(table: object, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(table, dict) or part not in table:
            return False
        table = table[part]
    return True


def _shown(key: str, value: object, mask: str) -> str:
    if value is None:
        return ABSENT
    if _SECRET_NAME.search(key) and key != "tls_key":
        return mask
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, dict):
        inner = ", ".join(f"{name}: {_shown(str(name), item, mask)}" for name, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(key, item, mask) for item in value) + "]"
    return _URL_QUERY.sub(rf"\1{MASK}", _URL_PASSWORD.sub(rf"\1:{MASK}@", str(value)))
