"""What serving needs of others: engines that answer with a model.

An engine plugin is a module with `name`, a pydantic `Config` and `build(config, deps) -> Engine`; authors prove theirs
with `charkha.testing.conformance.engines`.
"""

import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

import aiohttp


class Body(Protocol):
    """An answer's body."""

    def iter_any(self) -> AsyncIterator[bytes]:
        """Its bytes as they come. Raises aiohttp's errors where it breaks off."""
        ...


class Response(Protocol):
    """What the gateway uses of an engine's answer, whichever client got it: aiohttp's, or the hot path's own."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, by name in whatever case."""
        ...

    @property
    def content(self) -> Body:
        """Its body, unread."""
        ...

    def close(self) -> None:
        """Nobody reads the rest: the connection is closed."""
        ...

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Client(Protocol):
    """What the gateway uses of an HTTP client."""

    def post(
        self,
        url: str,
        *,
        data: bytes | io.BytesIO,
        headers: Mapping[str, str],
        allow_redirects: bool,
        timeout: aiohttp.ClientTimeout,
    ) -> Awaitable[Response]:
        """The answer, once its head is there. Raises aiohttp's errors."""
        ...

    async def close(self) -> None:
        """End every connection."""
        ...


@dataclass(frozen=True)
class EngineDeps:
    """What the host gives to an engine plugin.

    `session` returns the HTTP client of the running event loop (one that may reach the engine's address), `home` is the
    directory of this installation, `token` the secret that an embedded engine's callers show. `api_key` is the
    provider's key where Charkha keeps it ("" for none); else, where it is None, the plugin's configuration says.
    """

    session: Callable[[], aiohttp.ClientSession]
    home: Path
    token: str
    api_key: str | None = None


class Translator(Protocol):
    """Tells one answer of another API in OpenAI's words, as it comes. `status` is called first, `end` last.

    Nothing is raised: what makes no sense is told as an error in OpenAI's form, `{"error": {…}}`.
    """

    def status(self, status: int) -> int:
        """The status that OpenAI's API would have answered with."""
        ...

    def feed(self, data: bytes) -> bytes:
        """What the next piece of the body becomes; it may be cut anywhere."""
        ...

    def end(self) -> bytes:
        """What is to be told once the body has ended."""
        ...


@dataclass(frozen=True)
class UpstreamCall:
    """One POST that the gateway makes to an engine; the answer streams back as the engine sends it.

    An engine that does not speak OpenAI's API brings in `answers` what makes a translator of the answer. `session` is
    the HTTP client that the call has to go out by, where it is not the gateway's own.
    """

    url: str
    headers: dict[str, str]
    body: bytes
    answers: Callable[[], Translator] | None = None
    session: Callable[[], Client] | None = None


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
