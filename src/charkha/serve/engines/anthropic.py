"""The engine plugin for Anthropic's API, and for services that speak it: asked as a chat, it answers as a chat.

Owns the address, the key and the headers; `anthropic_requests` and `anthropic_answers` translate.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from charkha.serve.engines.anthropic_answers import StreamedAnswer, WholeAnswer
from charkha.serve.engines.anthropic_requests import countable, message_of
from charkha.serve.engines.remote import RemoteEngine, provider_key
from charkha.serve.ports import COUNT_PATH, EngineDeps, UpstreamCall

name = "anthropic"
VERSION = "2023-06-01"
"""Of the two that there are: the newer one, of 2026-10-21, knows no temperature, which models of before that heed."""

_CHAT = "/v1/chat/completions"


class Config(BaseModel):
    """`url` ends with the API's version (`…/v1`); `models` maps our names to the service's, others pass as they are.

    `api_key_env` names the environment variable that holds the key; the key itself never stands in a configuration.
    `max_tokens` is the length of an answer where a request names none, which Anthropic's API insists on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("anthropic", pattern=r"^[a-z0-9_-]{1,64}$")
    url: HttpUrl = HttpUrl("https://api.anthropic.com/v1")
    api_key_env: str = Field("ANTHROPIC_API_KEY", pattern=r"^[A-Za-z0-9_]*$")
    models: dict[str, str] = {}
    max_tokens: int = Field(4096, ge=1, le=2**20)


def build(config: Config, deps: EngineDeps) -> "Anthropic":
    """The engine. Raises ValueError if the environment variable that is to hold the key is not set."""
    return Anthropic(config, deps, provider_key(deps, config.api_key_env))


class Anthropic(RemoteEngine):
    """An `Engine` (charkha.serve.ports) that is Anthropic's API. It has no adapters and no embeddings."""

    counts_tokens: Literal[True] = True
    listing = "/models?limit=1"

    def __init__(self, config: Config, deps: EngineDeps, key: str) -> None:
        headers = {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})
        super().__init__(config.name, str(config.url), headers, deps)
        self._config = config

    def upstream(self, path: str, body: dict[str, Any], adapters: Sequence[tuple[str, float]]) -> UpstreamCall:
        """The call for a request. Raises ValueError for adapters, and for what Anthropic's API cannot do, by its name."""
        if adapters:
            self._no_adapters()
        renamed = {**body, "model": self._config.models.get(body["model"], body["model"])}
        if path == COUNT_PATH:
            content = msgspec.json.encode(countable(renamed))
            return UpstreamCall(f"{self._url}/messages/count_tokens", self._headers, content)
        if path != _CHAT:
            raise ValueError(f"Anthropic's API has nothing like {path}, only chats")
        content = msgspec.json.encode(message_of(renamed, self._config.max_tokens))
        return UpstreamCall(f"{self._url}/messages", self._headers, content, partial(_translator, body))


def _translator(body: Mapping[str, Any]) -> WholeAnswer | StreamedAnswer:
    created = int(time.time())
    if not body.get("stream"):
        return WholeAnswer(created)
    return StreamedAnswer(created, tells_usage=bool((body.get("stream_options") or {}).get("include_usage")))
