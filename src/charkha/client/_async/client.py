"""The asynchronous client: one attribute for each kind of thing, one method for each thing that can be done."""

import os
from typing import Any
from uuid import UUID

from charkha.client._async import governing, operating, prompting, providers, releasing, resources, spending
from charkha.client._async.transport import Transport
from charkha.client.types import Answer

DEFAULT_URL = "http://127.0.0.1:8420"


class AsyncCharkha:
    """A connection to Charkha.

    `base_url` and `api_key` default to CHARKHA_URL and CHARKHA_API_KEY. `workspace` names another workspace of the
    organisation, for keys that own it. `timeout` is in seconds.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        workspace: str | None = None,
        timeout: float = 120.0,
    ) -> None:
        key = api_key or os.environ.get("CHARKHA_API_KEY", "")
        url = base_url or os.environ.get("CHARKHA_URL", DEFAULT_URL)
        self.transport = Transport(url, key, workspace=workspace, timeout=timeout)
        self.adapters = releasing.Adapters(self.transport)
        self.aliases = releasing.Aliases(self.transport)
        self.audit = governing.Audit(self.transport)
        self.caches = spending.Caches(self.transport)
        self.datasets = resources.Datasets(self.transport)
        self.endpoints = resources.Endpoints(self.transport)
        self.engines = providers.Engines(self.transport)
        self.evaluations = resources.Evaluations(self.transport)
        self.feedback = resources.Feedback(self.transport)
        self.inferences = resources.Inferences(self.transport)
        self.keys = governing.Keys(self.transport)
        self.limits = spending.Limits(self.transport)
        self.lineage = releasing.Lineage(self.transport)
        self.policies = resources.Policies(self.transport)
        self.prices = spending.Prices(self.transport)
        self.prompts = prompting.Prompts(self.transport)
        self.releases = releasing.Releases(self.transport)
        self.runs = resources.Runs(self.transport)
        self.sessions = governing.Sessions(self.transport)
        self.suites = resources.Suites(self.transport)
        self.system = operating.System(self.transport)
        self.usage = spending.Usage(self.transport)
        self.versions = releasing.Versions(self.transport)
        self.workspaces = governing.Workspaces(self.transport)

    async def __aenter__(self) -> "AsyncCharkha":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()

    async def status(self) -> dict[str, Any]:
        """What the installation is doing: gateways with the version that each serves, engines, queues."""
        return await self.transport.call("GET", "/status", dict[str, Any])

    async def ask(
        self,
        model: str,
        messages: list[dict[str, str]],
        *,
        unit: str | None = None,
        episode: str | None = None,
        **parameters: Any,
    ) -> Answer:
        """One chat completion. `unit` keeps a user on one variant; `parameters` are OpenAI's."""
        headers = {"x-charkha-unit": unit, "x-charkha-episode": episode}
        response = await self.transport.call(
            "POST",
            "/v1/chat/completions",
            dict[str, Any],
            body={"model": model, "messages": messages, **parameters},
            headers={key: value for key, value in headers.items() if value is not None},
        )
        text = response["choices"][0]["message"]["content"] or ""
        return Answer(text, UUID(response["id"].removeprefix("chatcmpl-")))
