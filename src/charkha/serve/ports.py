"""What serving needs of others: engines that answer with a model.

An engine plugin is a module with `name`, a pydantic `Config` and `build(config, deps) -> Engine`; authors prove theirs
with `charkha.testing.conformance.engines`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import aiohttp


@dataclass(frozen=True)
class EngineDeps:
    """What the host gives to an engine plugin.

    `session` returns the HTTP client of the running event loop (one that may reach the engine's address), `home` is the
    directory of this installation, `token` the secret that an embedded engine's callers show.
    """

    session: Callable[[], aiohttp.ClientSession]
    home: Path
    token: str


@dataclass(frozen=True)
class UpstreamCall:
    """One POST that the gateway makes to an engine; the answer streams back as the engine sends it."""

    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class EngineHealth:
    """Whether an engine answers now. `base_hash` is the SHA-256 of its model file, where that is known."""

    ready: bool
    model: str = ""
    base_hash: str | None = None
    adapters: int = 0
    detail: str = ""


COUNT_PATH = "/v1/chat/completions/input_tokens"
"""Where an engine that `CountsTokens` tells `{"input_tokens": n}` of a chat request."""


@runtime_checkable
class CountsTokens(Protocol):
    """What an engine has besides, if it answers at COUNT_PATH."""

    counts_tokens: Literal[True]


@runtime_checkable
class PartitionsPrompts(Protocol):
    """What an engine has besides, if it takes a field `partition` in chats and completions: what it has read of a prompt
    is used again for requests of the same partition alone."""

    partitions_prompts: Literal[True]


@dataclass(frozen=True)
class CacheFigures:
    """What the log knows of one endpoint's cache: hits, looks in vain, and money saved in micro-units, by currency."""

    hits: int = 0
    misses: int = 0
    saved: Mapping[str, int] = field(default_factory=dict)


class Engine(Protocol):
    """A way to get answers from a model, here or far away, with or without adapters on it.

    Methods raise plain errors: ConnectionError when the engine cannot be reached, ValueError with the reason when it
    refuses what was asked of it.
    """

    name: str

    def prepare(self, home: Path, token: str) -> Path | None:
        """Write what the engine's process reads at its start under `home`; returns that file, None for a remote one.

        May hash a model file: call it from a thread, before each start of the process.
        """
        ...

    def command(self) -> list[str] | None:
        """The command line of the engine's process, after `prepare`; None when there is no process of ours."""
        ...

    def upstream(self, path: str, body: dict[str, Any], adapters: Sequence[tuple[str, float]]) -> UpstreamCall:
        """The call that answers `body` (an OpenAI request) at `path` (`/v1/chat/completions`, …). Pure and fast.

        `adapters` are (digest, weight): none is the base model, several are blended.
        """
        ...

    async def health(self) -> EngineHealth:
        """Whether the engine answers; never raises for one that does not."""
        ...

    async def adapters(self) -> list[str]:
        """The digests of the adapters that requests may name now."""
        ...

    async def load_adapter(self, digest: str, content: Path) -> None:
        """Make the adapter in the file `content`, whose SHA-256 is `digest`, available. Doing it again is harmless."""
        ...

    async def unload_adapter(self, digest: str) -> None:
        """Take an adapter away; requests that are running keep it. Unloading one that is not there is harmless."""
        ...
