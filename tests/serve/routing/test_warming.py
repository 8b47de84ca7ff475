"""An engine of ours that went away: it is asked for one token before anybody's request reaches it again."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from charkha.serve.gateway import GatewayLimits
from charkha.serve.ports import Engine, EngineHealth
from charkha.serve.routing.breaker import Breaker, Thresholds
from charkha.testing.fake_engine import FakeEngine
from charkha.testing.serving import serving
from tests.serve.conftest import Rig
from tests.serve.routing.conftest import Faulty

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello there"}]


class OwnEngine(FakeEngine):
    """An engine with a process of ours, which says that it is ready a little after it can be reached."""

    ready = True

    def command(self) -> list[str]:
        """How its process would be started."""
        return ["engine"]

    async def health(self) -> EngineHealth:
        """Ready when it says so."""
        if not self.address:
            raise ConnectionError("not started")
        return EngineHealth(self.ready, model="own-model")


@pytest.fixture
async def others(second: Faulty) -> AsyncIterator[dict[str, Engine]]:
    async with serving(second) as address:
        yield {"own-model": OwnEngine(address, "own")}


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(request_seconds=5, engine_patience_seconds=4, drain_seconds=1)


async def test_an_engine_that_comes_back_is_warmed_before_requests_reach_it(rig: Rig, second: Faulty) -> None:
    engine, health = rig.gateway._engines["own"], rig.gateway.health["own"]
    assert isinstance(engine, OwnEngine)
    health.breaker = Breaker(Thresholds(minimum=2, pause=0.2))
    engine.address, address = "", engine.address
    engine.ready = False

    async def ask() -> int:
        body = {"model": "own-model", "messages": HELLO}
        key = {"authorization": f"Bearer {rig.key}"}
        async with (
            aiohttp.ClientSession(headers=key) as http,
            http.post(f"{rig.url}/chat/completions", json=body) as it,
        ):
            return it.status

    waiting = [asyncio.create_task(ask()) for _ in range(4)]
    while health.breaker.state(time.monotonic()) == "closed":
        await asyncio.sleep(0.01)
    engine.address = address
    await asyncio.sleep(0.5)
    assert second.requests == [], "it can be reached, but does not say that it is ready"
    second.pause = 0.1
    engine.ready = True
    assert await asyncio.gather(*waiting) == [200] * 4
    first = second.requests[0]
    assert (first["max_tokens"], first["messages"][0]["content"]) == (1, ".")
    assert [each["messages"] for each in second.requests[1:]] == [HELLO] * 4
    assert health.breaker.state(time.monotonic()) == "closed"
    assert len(rig.records()[0]) == 4, "nobody is charged for the warming"


async def test_an_engine_that_stays_away_is_asked_ever_more_seldom(rig: Rig) -> None:
    engine, health = rig.gateway._engines["own"], rig.gateway.health["own"]
    assert isinstance(engine, OwnEngine)
    engine.address = ""
    health.breaker = Breaker(Thresholds(minimum=1, pause=0.1, longest=60))
    health.breaker.failed(time.monotonic())
    async with asyncio.timeout(5):
        while health.breaker.opens_in(time.monotonic()) < 0.5:
            await asyncio.sleep(0.01)
    assert health.pending == 0
