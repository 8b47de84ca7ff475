"""Engines: where answers come from."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from charkha.client import providers, types
from charkha.client._async.engines import EngineStates
from charkha.client._async.resources import Id


class Engines(EngineStates):
    """Engines of the installation. Those of the database can be changed; it takes an owner's key."""

    async def list(self, *, after: Id | None = None, limit: int = 50) -> types.Page[providers.Engine]:
        """Engines: those of the settings on the first page, then those of the database, newest first."""
        return await self._page("/engines", providers.Engine, {"after": after, "limit": limit})  # type: ignore[no-any-return]

    async def get(self, name: str) -> providers.Engine:
        """One engine."""
        return await self._get(_path(name), providers.Engine)

    async def add(
        self, name: str, *, plugin: str = "openai", options: Mapping[str, Any] | None = None, key: str | None = None
    ) -> providers.Engine:
        """Add an engine; every gateway can ask it then. `options` are the plugin's: url, models and more."""
        body = {"name": name, "plugin": plugin, "options": dict(options or {}), "key": key}
        return await self._post("/engines", providers.Engine, body)

    async def change(self, name: str, options: Mapping[str, Any]) -> providers.Engine:
        """Give an engine other options; those that are not named stay. Another URL erases its key."""
        body = {"options": dict(options)}
        return await self._transport.call("PATCH", _path(name), providers.Engine, body=body)

    async def set_key(self, name: str, key: str) -> providers.Engine:
        """Set the key that an engine's provider is shown."""
        return await self._transport.call("PUT", f"{_path(name)}/key", providers.Engine, body={"key": key})

    async def check(self, name: str) -> providers.EngineCheck:
        """Ask an engine how it is."""
        return await self._post(f"{_path(name)}/check", providers.EngineCheck, {})

    async def remove(self, name: str) -> dict[str, Any]:
        """Remove an engine and its key; the answer lists the gateways that know it."""
        return await self._transport.call("DELETE", _path(name), dict[str, Any])


def _path(name: str) -> str:
    return f"/engines/{quote(name, safe='')}"
