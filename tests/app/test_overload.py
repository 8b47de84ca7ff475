"""Ten times as many requests as there is room for: the excess is refused at once, the others are answered, health stays up."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from charkha.kit.postgres import launcher
from tests.app.front import House, fresh_database, house

pytestmark = pytest.mark.anyio
ROOM = 40
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
PATHS = {
    "/v1/chat/completions": HELLO,
    "/v1/messages": {**HELLO, "max_tokens": 9},
    "/v1/responses": {"model": "tiny", "input": "a"},
}


@pytest.fixture
def running(migrated_server: launcher.Running, tmp_path: Path) -> Iterator[House]:
    limits = {"max_in_flight": ROOM}
    with fresh_database(migrated_server) as urls, house(urls, tmp_path / "home", limits=limits) as running:
        yield running


async def test_what_has_no_room_is_refused_at_once_and_the_rest_is_answered(running: House) -> None:
    running.hold()
    headers = {"authorization": f"Bearer {running.key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(running.url, headers=headers, connector=connector) as http:
        ways = list(PATHS.items())
        admitted = [asyncio.create_task(_ask(http, *ways[number % 3])) for number in range(ROOM)]
        await _until(lambda: running.model.running == ROOM)
        refused = await asyncio.gather(*(_ask(http, *ways[number % 3]) for number in range(9 * ROOM)))
        assert not any(task.done() for task in admitted), "what was refused did not wait for what was admitted"
        for status, retry_after, told in refused:
            assert (status, retry_after) == (503, "1")
            assert told["error"].get("code", "overloaded") == "overloaded"
        for path in ("/healthz", "/readyz", "/v1/models", "/endpoints"):
            async with http.get(path) as answer:
                assert answer.status == 200, path
        assert running.model.running == ROOM
        assert len(running.model.requests) == ROOM, "what was refused never reached the engine"
        running.release()
        assert {status for status, _, _ in await asyncio.gather(*admitted)} == {200}
        assert (await _ask(http, *ways[0]))[0] == 200, "there is room again"


async def _ask(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> tuple[int, str | None, dict[str, Any]]:
    async with http.post(path, json=body) as answer:
        return answer.status, answer.headers.get("retry-after"), await answer.json()


async def _until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)
