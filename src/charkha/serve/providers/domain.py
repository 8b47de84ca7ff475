"""Engines that are kept in the database, as values, and what may be one: names, addresses, keys, options.

Pure. A provider's key is sealed for one name and one URL: for any other it cannot be opened.
"""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from pydantic import HttpUrl

from charkha.core.errors import Invalid
from charkha.kit.egress import is_private_literal

PLUGINS = ("anthropic", "openai")
"""Those without a process of ours: all that they need is an address and a key."""

MAX_ENGINES, MAX_MODELS, MAX_KEY = 200, 1_000, 4_096
_OURS = frozenset({"api_key_env", "name"})
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_KEY = re.compile(r"[!-~]{8,}")


class Provider(msgspec.Struct, frozen=True):
    """An engine that is kept in the database. `options` are its plugin's, whole, the URL among them."""

    id: UUID
    name: str
    plugin: str
    options: dict[str, Any]
    key_sealed: bytes | None
    key_ends: str | None
    key_set_at: datetime | None
    created_at: datetime

    @property
    def url(self) -> str:
        """Where it is called."""
        return str(self.options["url"])

    @property
    def models(self) -> dict[str, str]:
        """The models that may be called by their own name: our names to the provider's."""
        return dict(self.options.get("models", {}))


class EngineView(msgspec.Struct, frozen=True, kw_only=True):
    """An engine as it is told of: without its key. Those of the settings have no `id`, and are changed there.

    `key_ends` are the last characters of a key that is kept here; `problem` is why the engine cannot be asked.
    """

    id: UUID | None
    name: str
    source: Literal["settings", "database"]
    plugin: str
    url: str | None
    models: dict[str, str]
    options: dict[str, Any]
    key_ends: str | None = None
    key_set_at: datetime | None = None
    problem: str | None = None
    created_at: datetime | None = None
    served_from: int | None = None


class EngineCheck(msgspec.Struct, frozen=True):
    """What an engine answered when it was asked how it is, and after how many milliseconds."""

    name: str
    ready: bool
    detail: str
    milliseconds: float


def key_context(name: str, url: str) -> str:
    """What a key is sealed for."""
    return f"engine-key:{name}:{url}"


def key_end(key: str) -> str:
    """What may be shown of a key: its last four characters."""
    return key[-4:]


def check_name(name: str, taken: Collection[str]) -> None:
    """Raise Invalid for a name that cannot be, or that an engine of the settings has."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"'{name[:64]}' is no name for an engine.",
            param="name",
            remedy="Use 1 to 64 lower-case letters, digits, '_' and '-'.",
        )
    if name in taken:
        raise Invalid(
            f"The settings have an engine '{name}'.", param="name", remedy="Choose another name, or change it there."
        )


def check_plugin(plugin: str) -> None:
    """Raise Invalid for a plugin that cannot be added while gateways serve."""
    if plugin not in PLUGINS:
        raise Invalid(
            f"An engine of the plugin '{plugin[:64]}' cannot be added here.",
            param="plugin",
            remedy=f"Use one of {', '.join(PLUGINS)}; engines with a process of ours stand in the settings.",
        )


def check_options(options: Mapping[str, Any]) -> None:
    """Raise Invalid for options that are not for whoever adds an engine to choose."""
    for field in options.keys() & _OURS:
        raise Invalid(
            f"'{field}' is no option of an engine that is kept in the database.",
            param=f"options.{field}",
            remedy="Its name stands beside the options, and its key is set by itself.",
        )
    models = options.get("models")
    if isinstance(models, Mapping) and len(models) > MAX_MODELS:
        raise Invalid(
            f"An engine names at most {MAX_MODELS} models.",
            param="options.models",
            remedy="Others can be called by endpoints.",
        )


def check_url(url: str, allowed_hosts: Collection[str]) -> None:
    """Raise Invalid for an address to which keys and prompts may not go.

    What a host's name resolves to is judged when it is called, by the egress rules; what is plain to see, here.
    """
    parsed = HttpUrl(url)
    host = (parsed.host or "").lower().strip("[]")
    if parsed.username or parsed.password or parsed.query or parsed.fragment:
        raise Invalid(
            "An engine's URL has no user, password, query or fragment.",
            param="options.url",
            remedy="Give the address alone, such as https://api.openai.com/v1; the key is set by itself.",
        )
    if host in allowed_hosts:
        return
    if parsed.scheme != "https":
        raise Invalid(
            f"Keys and prompts would go to {host} in the clear.",
            param="options.url",
            remedy=f"Use https, or have the operator allow the host: allowed_engine_hosts = ['{host}'].",
        )
    if is_private_literal(host):
        raise Invalid(
            f"{host} is a private address.",
            param="options.url",
            remedy=f"Have the operator allow it in the settings: allowed_engine_hosts = ['{host}'].",
        )


def check_key(key: str) -> None:
    """Raise Invalid for what can be no provider's key: it has to stand in a header."""
    if len(key) > MAX_KEY or not _KEY.fullmatch(key):
        raise Invalid(
            f"A key has 8 to {MAX_KEY} characters of ASCII, none of them a space.",
            param="key",
            remedy="Copy it again from the provider, without quotes and line ends.",
        )
