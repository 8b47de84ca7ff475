"""The engine plugin for any service that speaks the OpenAI API at a URL: OpenAI itself, vLLM, llama-server, Ollama.

Owns nothing but the translation of names: requests go out as they are, under the service's model name and key.
"""

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import aiohttp
import msgspec
from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from charkha.serve.engines.provider_keys import provider_key
from charkha.serve.engines.tool_calls import StreamedCalls, WholeCalls
from charkha.serve.ports import EngineDeps, EngineHealth, Translator, UpstreamCall

name = "openai"
_CHAT = "/v1/chat/completions"
_LENGTHS = ("max_completion_tokens", "max_tokens")
HEALTH_TIMEOUT = aiohttp.ClientTimeout(total=5)


class Config(BaseModel):
    """`url` ends with the API's version (`…/v1`); `models` maps our names to the service's, others pass as they are.

    `api_key_env` names the environment variable that holds the key; the key itself never stands in a configuration.
    `length` is the name by which the service knows an answer's greatest length, where it knows but one of OpenAI's two.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("openai", pattern=r"^[a-z0-9_-]{1,64}$")
    url: HttpUrl = HttpUrl("https://api.openai.com/v1")
    api_key_env: str = Field("OPENAI_API_KEY", pattern=r"^[A-Za-z0-9_]*$")
    models: dict[str, str] = {}
    length: Literal["max_tokens", "max_completion_tokens"] | None = None


def build(config: Config, deps: EngineDeps) -> "OpenAICompatible":
    """The engine. Raises ValueError if the environment variable that is to hold the key is not set."""
    return OpenAICompatible(config, deps, provider_key(deps, config.api_key_env))


class OpenAICompatible:
    """An `Engine` (charkha.serve.ports) that is somebody else's process. Adapters cannot be put on it."""

    def __init__(self, config: Config, deps: EngineDeps, key: str) -> None:
        self.name = config.name
        self._url, self._models, self._deps = str(config.url).rstrip("/"), config.models, deps
        self._length = config.length
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
        if self._length is not None and path == _CHAT:  # elsewhere there is but one name
            renamed = _with_length(renamed, self._length)
        answers = partial(_translator, body) if body.get("tools") else None
        content = msgspec.json.encode(renamed)
        return UpstreamCall(self._url + path.removeprefix("/v1"), self._headers, content, answers)

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


def _with_length(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The request with its length under the one name that the service knows."""
    length = next((body[each] for each in _LENGTHS if each in body), None)
    rest = {field: value for field, value in body.items() if field not in _LENGTHS}
    return rest if length is None else {**rest, name: length}


def _translator(body: Mapping[str, Any]) -> Translator:
    """What mends the tool calls of an answer, where tools are offered."""
    nonce, named = secrets.token_hex(6), isinstance(body.get("tool_choice"), dict)
    return StreamedCalls(nonce, named=named) if body.get("stream") else WholeCalls(nonce, named=named)
