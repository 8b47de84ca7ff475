"""A gateway with an engine of the settings, on a real database, and providers on loopback that engines are added for."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from charkha.app import settings
from charkha.app.http import Front
from charkha.app.installation import Installation
from charkha.app.serving import served
from charkha.app.wiring import Wiring
from charkha.testing.fake_engine import FakeModel
from charkha.testing.serving import serving
from tests.conftest import Urls

KEY = "sk-of-the-provider-7Qx4"


class Provider(FakeModel):
    """A provider that remembers what it was shown; `redirect` is where it sends everybody, if anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str | None] = []
        self.redirect = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Note the key; then list models, or answer as a model."""
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.shown.append(headers.get("authorization"))
        if self.redirect:
            await send(
                {"type": "http.response.start", "status": 307, "headers": [(b"location", self.redirect.encode())]}
            )
            await send({"type": "http.response.body", "body": b""})
        elif scope["method"] == "GET":
            status = 200 if self.shown[-1] == f"Bearer {KEY}" else 401
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
        else:
            await super().__call__(scope, receive, send)


class House:
    """The gateway, its owner and its application; `provider` is on an allowed host, `inside` beside it, on none."""

    def __init__(self, wiring: Wiring, app: Front, keys: list[str], *clients: httpx.AsyncClient) -> None:
        self.wiring, self.app, self.owner_key = wiring, app, keys[0]
        self.owner, self.application = clients
        self.provider, self.inside = Provider(), Provider()
        self.url = self.inside_port = ""

    async def add(self, name: str = "far", **more: Any) -> dict[str, Any]:
        """An engine at the provider, with its model `large` and its key."""
        options = {"url": self.url, "models": {"large": "large-2026"}}
        body = {"name": name, "options": options, "key": KEY, **more}
        answer = await self.owner.post("/engines", json=body)
        assert answer.status_code == 201, answer.text
        added: dict[str, Any] = answer.json()
        return added

    async def ask(self, model: str = "large") -> httpx.Response:
        """What the gateway answers to a chat."""
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        return await self.application.post("/v1/chat/completions", json=body)


@pytest.fixture
async def house(urls: Urls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setenv("NEAR_KEY", "key-of-the-settings")
    configured = settings.load(
        home=tmp_path / "home",
        database_url=urls.database,
        migration_url=urls.migration,
        engines={"near": {"plugin": "openai", "url": "https://near.example/v1", "api_key_env": "NEAR_KEY"}},
        allowed_engine_hosts=["127.0.0.1"],
    )
    wiring = Wiring(Installation(configured))
    await wiring.directory.prepare()
    first = await wiring.directory.first_run()
    assert first is not None
    app = served(wiring)
    keys = [first.operator.key, first.application.key]
    async with AsyncExitStack() as stack:
        await app._start()
        stack.push_async_callback(app._stop)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=transport, base_url="http://127.0.0.1", headers={"authorization": f"Bearer {key}"}
                )
            )
            for key in keys
        ]
        house = House(wiring, app, keys, *clients)
        house.url = await stack.enter_async_context(serving(house.provider)) + "/v1"
        inside = await stack.enter_async_context(serving(house.inside))
        house.inside_port = inside.rpartition(":")[2]
        yield house
