"""The engine plugin for any service that speaks the OpenAI API at a URL: OpenAI itself, vLLM, llama-server, Ollama.

Owns nothing but the translation of names: requests go out as they are, under the service's model name and key.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import msgspec
from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from charkha.serve.engines.provider_keys import provider_key
from charkha.serve.ports import EngineDeps, EngineHealth, UpstreamCall

name = "openai"
HEALTH_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=5)


class Config(BaseModel):
    """`url` ends with the API's version (`…/v1`); `models` maps our names to the service's, others pass as they are.

    `api_key_env` names the environment variable that holds the key; the key itself never stands in a configuration.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("openai", pattern=r"^[a-z0-9_-]{1,64}$")
    url: HttpUrl = HttpUrl("https://api.openai.com/v1")
    api_key_env: str = Field("OPENAI_API_KEY", pattern=r"^[A-Za-z0-9_]*$")
    models: dict[str, str] = {}


def build(config: Config, deps: EngineDeps) -> "OpenAICompatible":
    """The engine. Raises ValueError if the environment variable that is to hold the key is not set."""
    return OpenAICompatible(config, deps, provider_key(deps, config.api_key_env))


class OpenAICompatible:
    """An `Engine` (charkha.serve.ports) that is somebody else's process. Adapters cannot be put on it."""

    def __init__(self, config: Config, deps: EngineDeps, key: str) -> None:
        self.name = config.name
        self._url, self._models, self._deps = str(config.url).rstrip("/"), config.models, deps
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def prepare(self, home: Path, token: str) -> None:
        """Nothing to prepare: there is no process of ours."""

    def command(self) -> None:
        """No process of ours."""

    def upstream(self, path: str, body: dict[str, Any], adapters: Sequence[tuple[str, float]]) -> UpstreamCall:
        """The call for a request. Raises ValueError if it names adapters."""
        if adapters:
            self._no_adapters()
        model = body.get("model", "")
        renamed = {**body, "model": self._models.get(model, model)}
        return UpstreamCall(self._url + path.removeprefix("/v1"), self._headers, msgspec.json.encode(renamed))

    async def health(self) -> EngineHealth:
        """Ready when the service lists its models."""
        try:
            session = self._deps.session()
            async with session.get(
                f"{self._url}/models", headers=self._headers, allow_redirects=False, timeout=HEALTH_TIMEOUT
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
