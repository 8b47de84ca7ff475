"""An engine in a process of its own on this machine, as its plugin sees it: how it is started, found, and asked.

Owns the engine's directory `<home>/engine/<name>/`: its configuration (with the token, mode 0600), ready file, adapters.
The process speaks `engine_http`; a supervisor starts `command()` after each `prepare()`.
"""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import aiohttp
import msgspec

from charkha.serve.ports import EngineDeps, EngineHealth, UpstreamCall


@dataclass(frozen=True)
class _Ready:
    port: int
    pid: int


class EmbeddedEngine(ABC):
    """An `Engine` (charkha.serve.ports) whose process is the Python module `module`."""

    counts_tokens: Literal[True] = True
    partitions_prompts: Literal[True] = True
    module: ClassVar[str]

    def __init__(self, name: str, deps: EngineDeps) -> None:
        self.name, self._deps = name, deps
        self._directory = deps.home / "engine" / name
        self._ready_file = self._directory / "ready.json"
        self._config_file = self._directory / "config.json"
        self._seen: tuple[int, int] | None = None
        self._address = ""
        self._headers = {"Authorization": f"Bearer {deps.token}", "Content-Type": "application/json"}

    def prepare(self, home: Path, token: str) -> Path:
        """Write the process's configuration and forget where the last one listened. Raises FileNotFoundError: no model."""
        directory = home / "engine" / self.name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "ready.json").unlink(missing_ok=True)
        self._config_file = directory / "config.json"
        content = msgspec.json.encode(self.process_config(home, directory, token))
        descriptor = os.open(self._config_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return self._config_file

    def command(self) -> list[str]:
        """The process's command line; `prepare` must have written its configuration."""
        return [sys.executable, "-m", self.module, str(self._config_file)]

    def upstream(self, path: str, body: dict[str, Any], adapters: Sequence[tuple[str, float]]) -> UpstreamCall:
        """The call for a request. Raises ConnectionError as long as the process has not said where it listens."""
        uses = [{"id": digest, "weight": weight} for digest, weight in adapters]
        return UpstreamCall(self._base() + path, self._headers, msgspec.json.encode({**body, "adapters": uses}))

    async def health(self) -> EngineHealth:
        """What the process says of itself."""
        try:
            async with self._deps.session().get(f"{self._base()}/health") as response:
                said = msgspec.json.decode(await response.read())
        except (aiohttp.ClientError, ConnectionError, TimeoutError, msgspec.DecodeError) as error:
            return EngineHealth(False, detail=f"{type(error).__name__}: {error}")
        return EngineHealth(
            said["status"] == "ready", said["model"], said["base_hash"], said["adapters"], said["status"]
        )

    async def adapters(self) -> list[str]:
        """The digests of the adapters that requests may name now."""
        async with self._asked("GET", "/adapters") as response:
            return [adapter["id"] for adapter in msgspec.json.decode(await response.read())["adapters"]]

    async def load_adapter(self, digest: str, content: Path) -> None:
        """Send the adapter's file; returns when requests may name it."""
        if digest in await self.adapters():
            return
        with content.open("rb") as file:
            async with self._asked("PUT", f"/adapters/{digest}", data=file):
                return

    async def unload_adapter(self, digest: str) -> None:
        """Take the adapter away, from the process and from its disk."""
        async with self._asked("DELETE", f"/adapters/{digest}"):
            return

    @asynccontextmanager
    async def _asked(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response that is good. Raises ConnectionError or, with the engine's own words, ValueError."""
        headers = {"Authorization": self._headers["Authorization"]}
        try:
            session = self._deps.session()
            async with session.request(method, self._base() + path, headers=headers, **options) as response:
                if response.status >= 500:
                    raise ConnectionError(await _reason(response))
                if response.status >= 400:
                    raise ValueError(await _reason(response))
                yield response
        except aiohttp.ClientError as error:
            raise ConnectionError(f"The engine '{self.name}' cannot be reached: {error}.") from error

    def _base(self) -> str:
        """Where the process listens; the ready file is read again when it has been written anew."""
        try:
            status = self._ready_file.stat()
        except FileNotFoundError:
            raise ConnectionError(f"The engine '{self.name}' has not started.") from None
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            port = msgspec.json.decode(self._ready_file.read_bytes(), type=_Ready).port
            self._seen, self._address = seen, f"http://127.0.0.1:{port}"
        return self._address

    @abstractmethod
    def process_config(self, home: Path, directory: Path, token: str) -> dict[str, Any]:
        """What the process is started with. Raises FileNotFoundError if there is no model."""


async def _reason(response: aiohttp.ClientResponse) -> str:
    content = await response.read()
    try:
        return str(msgspec.json.decode(content)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {response.status}: {content[:200].decode(errors='replace')}"
