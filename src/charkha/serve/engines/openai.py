"""The engine plugin for any service that speaks the OpenAI API at a URL: OpenAI itself, vLLM, llama-server, Ollama.

Owns nothing but the translation of names: requests go out as they are, under the service's model name and key.
"""

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from charkha.serve.engines.remote import RemoteEngine, provider_key
from charkha.serve.engines.tool_calls import StreamedCalls, WholeCalls
from charkha.serve.ports import EngineDeps, Translator, UpstreamCall

name = "openai"
_CHAT = "/v1/chat/completions"
_LENGTHS = ("max_completion_tokens", "max_tokens")


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


class OpenAICompatible(RemoteEngine):
    """An `Engine` (charkha.serve.ports) that is somebody else's process. Adapters cannot be put on it."""

    def __init__(self, config: Config, deps: EngineDeps, key: str) -> None:
        super().__init__(config.name, str(config.url), {"Authorization": f"Bearer {key}"} if key else {}, deps)
        self._models, self._length = config.models, config.length

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


def _with_length(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The request with its length under the one name that the service knows."""
    length = next((body[each] for each in _LENGTHS if each in body), None)
    rest = {field: value for field, value in body.items() if field not in _LENGTHS}
    return rest if length is None else {**rest, name: length}


def _translator(body: Mapping[str, Any]) -> Translator:
    """What mends the tool calls of an answer, where tools are offered."""
    nonce, named = secrets.token_hex(6), isinstance(body.get("tool_choice"), dict)
    return StreamedCalls(nonce, named=named) if body.get("stream") else WholeCalls(nonce, named=named)
