"""A live page as a browser follows it: on a real socket, since a client in process waits for the whole of an answer."""

import asyncio
from collections.abc import Callable, Mapping

import httpx
import msgspec

from charkha.console.security import COOKIE
from charkha.testing.serving import serving
from tests.console.world import Browser, World

Fragments = dict[str, str]


async def watched(
    world: World, browser: Browser, path: str, until: Callable[[Mapping[str, str]], bool] = bool
) -> Fragments:
    """What a live page was sent, element id to its newest HTML, once that is enough; waits for at most ten seconds."""
    headers = {"cookie": f"{COOKIE}={browser.cookie}"}
    async with (
        asyncio.timeout(10),
        serving(world.app) as address,
        httpx.AsyncClient(base_url=address, headers=headers, timeout=10) as http,
        http.stream("GET", browser.href(path)) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.status_code
        return await _read(answer, until)


async def _read(answer: httpx.Response, until: Callable[[Mapping[str, str]], bool]) -> Fragments:
    found: Fragments = {}
    kind = ""
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data" and kind == "fragment":
            data = msgspec.json.decode(value)
            found[data["id"]] = data["html"]
            if until(found):
                break
    return found
