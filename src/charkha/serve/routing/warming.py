"""Engines of our own that failed too often: asked whether they are back, and for one token, before requests reach them.

A process that has just started reads its model from the disk at its first request; nobody's request is to wait for that.
Engines elsewhere are not asked: what they answer costs money, so there a request of somebody finds out.
"""

import asyncio
import time
from collections.abc import Mapping
from uuid import UUID

import aiohttp
import structlog

from charkha.core.errors import CharkhaError
from charkha.kit.plugins import boundary
from charkha.serve.ports import Engine
from charkha.serve.routing.breaker import PROBE
from charkha.serve.routing.health import Engines, Health
from charkha.serve.targets import Target
from charkha.serve.upstream import Upstream, read_whole

TICK_SECONDS, WARM_SECONDS = 0.2, 30.0
_NOBODY = UUID(int=0)
log = structlog.get_logger()


class Warmer:
    """Looks after the engines that have a process of ours. `patience`: how long one may take to restart, in seconds."""

    def __init__(self, engines: Mapping[str, Engine], health: Engines, upstream: Upstream, *, patience: float) -> None:
        self._engines, self._health, self._upstream, self._patience = engines, health, upstream, patience

    async def run(self) -> None:
        """Look for ever."""
        while True:
            for name, engine in tuple(self._engines.items()):
                health = self._health[name]
                health.guarded = engine.command() is not None
                if health.guarded and health.breaker.state(time.monotonic()) != "closed":
                    await self._look(engine, health)
            await asyncio.sleep(TICK_SECONDS)

    async def _look(self, engine: Engine, health: Health) -> None:
        if health.breaker.enter(time.monotonic()) != PROBE:
            return
        answers = await self._answers(engine)
        now = time.monotonic()
        if answers:
            health.breaker.succeeded(now, PROBE)
            health.gone_since = None
            log.info("engine.warmed", engine=engine.name)
        elif health.may_return(now, self._patience):
            health.breaker.abandoned(PROBE)
        else:
            health.breaker.failed(now, PROBE)

    async def _answers(self, engine: Engine) -> bool:
        """Whether the engine is ready and answers with a token."""
        try:
            async with asyncio.timeout(WARM_SECONDS):
                with boundary(f"engine '{engine.name}'"):
                    told = await engine.health()
                if told.ready:
                    await self._one_token(engine.name, told.model)
                return told.ready
        except (CharkhaError, aiohttp.ClientError, TimeoutError) as error:
            log.info("engine.not_back", engine=engine.name, reason=str(error))
            return False

    async def _one_token(self, engine: str, model: str) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "."}], "max_tokens": 1}
        target = Target(engine, model)
        async with await self._upstream.post(target, "/v1/chat/completions", body, _NOBODY) as response:
            await read_whole(response)
