"""Engines as they are now: taken out of service and back, and how gateways find them."""

from urllib.parse import quote

from charkha.client import engines
from charkha.client._async.resources import Resource


class EngineStates(Resource):
    """What engines do now. To drain one needs a key that may `system.manage`."""

    async def state(self, engine: str) -> engines.EngineState:
        """Whether an engine is drained, and how each gateway process finds it."""
        return await self._get(f"{_path(engine)}/state", engines.EngineState)

    async def drain(self, engine: str) -> engines.EngineState:
        """Send an engine no new requests; those that it is answering end."""
        return await self._post(f"{_path(engine)}/drain", engines.EngineState, None)

    async def resume(self, engine: str) -> engines.EngineState:
        """Let an engine serve again."""
        return await self._post(f"{_path(engine)}/resume", engines.EngineState, None)


def _path(engine: str) -> str:
    return f"/engines/{quote(engine, safe='')}"
