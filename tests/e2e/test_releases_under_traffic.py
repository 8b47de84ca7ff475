"""Promotions, rollbacks and blends while clients stream: none fails, each answer is one version's, whole.

Two gateway processes serve; every answer comes from whichever took the connection.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import openai
import pytest

from charkha.client import AsyncCharkha
from tests.e2e.house import House
from tests.e2e.tiny_examples import questions

pytestmark = pytest.mark.anyio

STREAMS, CYCLES = 4, 4


class Streams:
    """Clients that stream the same question from an endpoint, one answer after another. `answers` counts the texts."""

    def __init__(self, house: House, endpoint: str) -> None:
        self.answers: Counter[str] = Counter()
        self._house, self._endpoint = house, endpoint
        self._question = questions(house.running.task)[0].prompt[0].content

    async def once(self) -> str:
        """One answer, as it is streamed. Raises what the client raises."""
        http = httpx.AsyncClient(trust_env=False, timeout=60)
        key, url = self._house.keys["developer"], f"{self._house.running.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, http_client=http) as client:
            stream = await client.chat.completions.create(
                model=self._endpoint, messages=[{"role": "user", "content": self._question}], stream=True
            )
            chunks = [chunk async for chunk in stream]
        assert chunks[-1].choices[0].finish_reason, "the stream broke off"
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """While the block runs the clients stream; a failure of one is raised at its end."""
        done = asyncio.Event()

        async def stream() -> None:
            while not done.is_set():
                self.answers[await self.once()] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(STREAMS):
                group.create_task(stream())
            yield
            done.set()

    async def seen(self, texts: set[str], times: int = 6) -> None:
        """All that is answered from now on is one of these."""
        assert {await self.once() for _ in range(times)} <= texts


async def test_no_stream_fails_while_versions_come_and_go(house: House) -> None:
    endpoint = house.endpoint("coming-and-going")
    streams = Streams(house, endpoint)
    base = await streams.once()
    async with house.running.async_client(house.keys["admin"]) as client, streams.flowing():
        for _ in range(CYCLES):
            await _promoted(client, endpoint)
            (adapted,) = {await streams.once() for _ in range(3)}
            assert adapted != base
            await _rolled_back(client, endpoint)
            await streams.seen({base})
    assert set(streams.answers) == {base, adapted}, streams.answers
    print(f"\n[e2e] {streams.answers.total()} streams through {CYCLES} promotions and rollbacks, none failed")


async def _promoted(client: AsyncCharkha, endpoint: str) -> None:
    release = await client.releases.begin(endpoint=endpoint, version="brought@1", steps=[10, 50, 100])
    async with asyncio.timeout(30):
        while (now := (await client.releases.get(release.id)).rollout).status == "preparing":
            await asyncio.sleep(0.02)
    assert (now.status, now.share) == ("running", 10)
    await asyncio.sleep(0.2)
    promoted = await client.releases.promote(release.id, reason="the test says so")
    assert promoted.status == "promoted"
    live = (await client.endpoints.get(endpoint)).plan
    assert live is not None
    await _served_everywhere(client)


async def _served_everywhere(client: AsyncCharkha) -> None:
    """A promotion is answered when it is stored; wait until each gateway reports the newest picture."""
    async with asyncio.timeout(10):
        while len({gateway["version"] for gateway in (await client.status())["gateways"]}) > 1:
            await asyncio.sleep(0.02)
    await asyncio.sleep(1.1)  # one that had not heard of it yet has by now


async def _rolled_back(client: AsyncCharkha, endpoint: str) -> None:
    answer = await client.endpoints.rollback(endpoint, reason="the test says so")
    assert len({gateway["pid"] for gateway in answer.gateways}) == 3  # two gateways and the console
    versions = [gateway["version"] for gateway in answer.gateways]
    assert min(versions) >= answer.rollback["version"]
    print(f"\n[e2e] rolled back on both gateways in {answer.milliseconds:.0f} ms; they report {versions}")


async def test_blends_change_while_they_are_served(house: House) -> None:
    endpoint = house.endpoint("blended")
    streams, texts = Streams(house, endpoint), []
    blends = (
        [],
        [{"version": "brought@1"}],
        [{"version": "brought@2"}],
        [{"version": "brought@1", "weight": 0.6}, {"version": "brought@3", "weight": 0.8}],
        [{"version": "brought@1", "weight": -1.0}],
    )
    async with house.running.async_client(house.keys["admin"]) as client, streams.flowing():
        for _ in range(2):
            for blend in blends:
                await client.endpoints.blend(endpoint, blend)
                (text,) = {await streams.once() for _ in range(4)}
                texts.append(text)
    half = len(blends)
    assert texts[:half] == texts[half:], "the same blend answers the same"
    assert len(set(texts)) >= half - 1, f"blends answer alike: {texts}"
    assert set(streams.answers) <= set(texts)
    print(f"\n[e2e] {streams.answers.total()} streams through {2 * half} swaps, none failed")


async def test_a_plan_moved_meanwhile_is_a_conflict(house: House) -> None:
    endpoint = house.endpoint("moved")
    with house.http("admin") as http:
        seen = http.get(f"/endpoints/{endpoint}").json()
        shares = [{"variant_id": seen["variants"][0]["id"], "share": 100}]
        body = {"expected_plan_id": seen["live_plan_id"], "shares": shares}
        assert http.put(f"/endpoints/{endpoint}/plan", json=body).status_code == 200
        again = http.put(f"/endpoints/{endpoint}/plan", json=body)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "plan_moved")
