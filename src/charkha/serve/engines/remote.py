"""What the plugins of other people's services share: no process of ours, no adapters, a key, a list of models to ask for.

The key comes from Charkha, which keeps it sealed, or from the environment.
"""

import os
from pathlib import Path
from typing import NoReturn

import aiohttp

from charkha.serve.ports import EngineDeps, EngineHealth

HEALTH_TIMEOUT = aiohttp.ClientTimeout(total=5)


class RemoteEngine:
    """The part of an `Engine` (charkha.serve.ports) that is the same for every service at a URL; `upstream` is missing."""

    listing = "/models"
    """What a service that is well answers with 200, below its URL."""

    def __init__(self, name: str, url: str, headers: dict[str, str], deps: EngineDeps) -> None:
        self.name, self._url, self._deps = name, url.rstrip("/"), deps
        self._headers = {"Content-Type": "application/json", **headers}

    def prepare(self, home: Path, token: str) -> None:
        """Nothing to prepare: there is no process of ours."""

    def command(self) -> None:
        """No process of ours."""

    async def health(self) -> EngineHealth:
        """Ready when the service lists its models."""
        try:
            session, url = self._deps.session(), self._url + self.listing
            async with session.get(
                url, headers=self._headers, allow_redirects=False, timeout=HEALTH_TIMEOUT
            ) as response:
                return EngineHealth(response.status == 200, detail=f"status {response.status}")
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            return EngineHealth(False, detail=f"{type(error).__name__}: {error}")

    async def adapters(self) -> list[str]:
        """None, ever."""
        return []

    async def load_adapter(self, digest: str, content: Path) -> None:
        """Raises ValueError: this engine takes no adapters."""
        self._no_adapters()

    async def unload_adapter(self, digest: str) -> None:
        """Harmless: there are none."""

    def _no_adapters(self) -> NoReturn:
        raise ValueError(f"the engine '{self.name}' takes no adapters; serve them on the embedded engine")


def provider_key(deps: EngineDeps, variable: str) -> str:
    """The key; "" where the service wants none. Raises ValueError for an environment variable that is not set."""
    if deps.api_key is not None:
        return deps.api_key
    key = os.environ.get(variable, "") if variable else ""
    if variable and not key:
        raise ValueError(f"the environment variable {variable} is not set; set it, or api_key_env to ''")
    return key
