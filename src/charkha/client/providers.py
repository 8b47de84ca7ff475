"""What the API answers about engines. A provider's key is told by its last characters alone."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class Engine(msgspec.Struct, frozen=True):
    """A source of answers. Those of the settings file have no `id` and are changed there; `problem`: why it cannot be asked."""

    id: UUID | None
    name: str
    source: str
    plugin: str
    url: str | None
    models: dict[str, str]
    options: dict[str, Any]
    key_ends: str | None = None
    key_set_at: datetime | None = None
    problem: str | None = None
    created_at: datetime | None = None


class EngineCheck(msgspec.Struct, frozen=True):
    """What an engine answered when it was asked how it is."""

    name: str
    ready: bool
    detail: str
    milliseconds: float
