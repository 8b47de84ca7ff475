"""Caches at the gateway: what is given again and to whom, what never is, and that a stampede makes one call."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from charkha.kit.snapshot import wait_until_served
from charkha.serve.caches.policy import CachePolicy, SemanticPolicy
from charkha.serve.caches.process import CacheLimits
from charkha.serve.domain import Endpoint, Share
from charkha.serve.variants import VariantSpec
from charkha.testing.fake_engine import FakeEngine

from .conftest import Rig
from .test_limits import closed, limit, price

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello there"}]
POLICY = CachePolicy(seconds=60)


@pytest.fixture
def cache_limits() -> CacheLimits:
    """Room for a few answers."""
    return CacheLimits(max_bytes=2**20, workspace_bytes=2**19)


async def ask(rig: Rig, text: str = "hello there", *, key: str | None = None, **more: Any) -> Any:
    """A chat's answer with its headers."""
    headers = more.pop("headers", {})
    body = {"model": "support", "messages": [{"role": "user", "content": text}], "temperature": 0, **more}
    async with rig.client(key) as client:
        return await client.chat.completions.with_raw_response.create(**body, extra_headers=headers)


def said(raw: Any) -> tuple[str, str | None]:
    """What came out of which cache."""
    return raw.parse().choices[0].message.content, raw.headers.get("x-charkha-cache")


async def change(rig: Rig, endpoint: Endpoint, **changes: Any) -> None:
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        changed = await rig.endpoints.update(tx, endpoint.id, **changes)
    await wait_until_served(rig.database, changed.served_from or 0)


async def test_an_equal_request_gets_the_answer_again_and_costs_nothing(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    await price(rig, 1_000_000, 2_000_000)
    first, second = await ask(rig), await ask(rig, user="someone else")
    assert (said(first), said(second)) == (("echo: hello there", "miss"), ("echo: hello there", "hit"))
    assert len(rig.model.requests) == 1
    assert "age" not in first.headers
    assert 0 <= int(second.headers["age"]) <= 5
    assert second.parse().id == f"chatcmpl-{second.headers['x-charkha-inference-id']}" != first.parse().id
    assert second.parse().usage.total_tokens == 10
    missed, hit = await closed(rig, 2)
    assert (missed.cache, missed.saved, missed.prompt_tokens, missed.completion_tokens) == ("miss", None, 7, 3)
    assert (hit.cache, hit.saved, hit.cost, hit.currency) == ("hit", missed.cost, 0, "EUR")
    assert missed.cost
    assert (hit.prompt_tokens, hit.completion_tokens, hit.answer) == (0, 0, "echo: hello there")
    assert (hit.finish_reason, hit.status) == ("stop", 200)


async def test_a_hit_takes_a_request_of_the_limits_and_nothing_else(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    await price(rig, 1_000_000, 1_000_000)
    made = [await limit(rig, "requests", 100), await limit(rig, "tokens", 100_000)]
    made.append(await limit(rig, "money", 10_000_000, currency="EUR"))
    await ask(rig)
    assert said(await ask(rig))[1] == "hit"
    missed, hit = ({limit_id: units for limit_id, _, units in record.charges} for record in await closed(rig, 2))
    assert [missed[each.id] for each in made] == [1, 10, 10]
    assert [hit[each.id] for each in made] == [1, 0, 0]


async def test_what_differs_is_asked_of_the_engine(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    asked: list[dict[str, Any]] = [{}, {"seed": 1}, {"max_tokens": 9}, {"temperature": 0.2}, {"stop": ["x"]}, {"n": 2}]
    for more in asked:
        assert said(await ask(rig, **more))[1] == "miss"
    assert said(await ask(rig, "hello theree"))[1] == "miss"
    assert len(rig.model.requests) == len(asked) + 1
    for more in asked:
        assert said(await ask(rig, **more))[1] == "hit"


async def test_an_endpoint_without_a_cache_and_a_bare_model_say_nothing_of_it(rig: Rig) -> None:
    await rig.endpoint()
    for model in ("support", "tiny"):
        for _ in range(2):
            assert said(await ask(rig, model=model))[1] is None
    assert len(rig.model.requests) == 4
    assert [record.cache for record in await closed(rig, 4)] == [None] * 4


async def test_what_may_be_answered_otherwise_is_left_alone_unless_it_is_asked_for(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    always = {"x-charkha-cache": "always"}
    for more in ({"temperature": 1.0}, {"temperature": openai.omit}, {"tools": tools}):
        for expected in ("off", "off"):
            assert said(await ask(rig, **more))[1] == expected
        for expected in ("miss", "hit"):
            assert said(await ask(rig, **more, headers=always))[1] == expected
    assert [record.cache for record in await closed(rig, 4)] == [None, None, "miss", "hit"] * 3


async def test_a_request_can_opt_out(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    assert said(await ask(rig, headers={"cache-control": "no-store"}))[1] == "off"
    assert said(await ask(rig))[1] == "miss", "nothing was kept"
    rig.model.script = [{"content": "newer"}]
    assert said(await ask(rig, headers={"cache-control": "no-cache"})) == ("newer", "off")
    assert said(await ask(rig)) == ("newer", "hit"), "what was not looked up was kept"
    assert said(await ask(rig, headers={"cache-control": "no-store"}))[1] == "off"
    assert len(rig.model.requests) == 4


async def test_an_answer_goes_when_its_time_is_over(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.endpoint(cache=CachePolicy(seconds=30))
    now = rig.gateway._caches.clock()
    rig.gateway._caches.clock = lambda: now
    await ask(rig)
    now += 30
    assert said(await ask(rig))[1] == "hit"
    assert (await ask(rig)).headers["age"] == "30"
    assert said(await ask(rig, headers={"cache-control": "max-age=29"}))[1] == "miss", "and it is kept anew"
    now += 30.5
    assert said(await ask(rig))[1] == "miss"


async def test_another_workspace_never_gets_the_answer(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    await rig.endpoint(cache=POLICY, workspace_id=rig.other_id)
    rig.model.script = [{"content": "ours alone"}]
    assert said(await ask(rig)) == ("ours alone", "miss")
    assert said(await ask(rig, key=rig.other_key)) == ("echo: hello there", "miss")
    assert said(await ask(rig)) == ("ours alone", "hit")
    assert said(await ask(rig, key=rig.other_key)) == ("echo: hello there", "hit")


async def test_another_variant_never_gives_the_answer(rig: Rig) -> None:
    endpoint = await rig.endpoint(cache=POLICY)
    assert said(await ask(rig))[1] == "miss"
    await rig.candidate(endpoint, "b" * 64, 100)
    first = await ask(rig)
    assert said(first) == ("<bbbb*1> echo: hello there", "miss")
    assert said(await ask(rig)) == ("<bbbb*1> echo: hello there", "hit")
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        live = await rig.endpoints.live(tx, endpoint.id)
        shares = [Share(live.shares[-1].variant_id, 0), Share(endpoint.variants[0].id, 100)]
        plan = await rig.endpoints.swap(tx, endpoint.id, expected_plan_id=live.id, shares=shares, reason="back")
    await wait_until_served(rig.database, plan.served_from or 0)
    assert said(await ask(rig)) == ("echo: hello there", "hit"), "its own answers are still there"


async def test_variants_that_are_compared_answer_each_time(rig: Rig) -> None:
    endpoint = await rig.endpoint(cache=POLICY)
    await ask(rig)
    await rig.candidate(endpoint, "b" * 64, 50)
    rig.gateway._caches.sweep()
    for _ in range(2):
        assert said(await ask(rig))[1] is None
    assert len(rig.model.requests) == 3
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        live = await rig.endpoints.live(tx, endpoint.id)
        shares = [Share(endpoint.variants[0].id, 100)]
        plan = await rig.endpoints.swap(tx, endpoint.id, expected_plan_id=live.id, shares=shares, reason="back")
    await wait_until_served(rig.database, plan.served_from or 0)
    assert said(await ask(rig))[1] == "hit", "what was kept before the rollout is still there"


async def test_another_endpoint_never_gives_the_answer(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    await rig.endpoint("sales", VariantSpec(engine="local", model="tiny", parameters={"temperature": 0}), cache=POLICY)
    assert said(await ask(rig))[1] == "miss"
    assert said(await ask(rig, model="sales"))[1] == "miss"


async def test_clearing_and_changing_the_cache_forget_what_was_kept(rig: Rig) -> None:
    endpoint = await rig.endpoint(cache=POLICY)
    await ask(rig)
    for name in ("support", None):
        async with rig.database.workspace(rig.workspace_id, "test") as tx:
            version = await rig.endpoints.clear_caches(tx, name)
        await wait_until_served(rig.database, version)
        assert said(await ask(rig))[1] == "miss"
        assert said(await ask(rig))[1] == "hit"
    await change(rig, endpoint, keeps_content=False)
    assert said(await ask(rig))[1] == "hit"
    await change(rig, endpoint, cache=None)
    assert said(await ask(rig))[1] is None
    rig.gateway._caches.sweep()
    assert rig.gateway._caches.bytes == 0
    await change(rig, endpoint, cache=POLICY)
    assert said(await ask(rig))[1] == "miss"


async def test_the_oldest_answers_give_way_to_bytes(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    caches = rig.gateway._caches
    for number in range(40):
        await ask(rig, f"{number}" + "x" * 30_000)
        assert caches.bytes <= 2**19
    assert caches.bytes > 2**19 - 40_000
    assert said(await ask(rig, "39" + "x" * 30_000))[1] == "hit"
    assert said(await ask(rig, "0" + "x" * 30_000))[1] == "miss"
    assert said(await ask(rig, "y" * 100_000))[1] == said(await ask(rig, "y" * 100_000))[1] == "miss", "too large"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_was_cut_is_not_kept(rig: Rig, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.endpoint(cache=POLICY)
    monkeypatch.setattr("charkha.testing.fake_engine._reason", lambda said: reason)
    for stream in (False, True):
        for _ in range(2):
            assert (await ask(rig, stream=stream)).headers["x-charkha-cache"] == "miss"
    assert len(rig.model.requests) == 4


async def test_a_failure_is_not_kept(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    rig.model.failure = (500, {"message": "broken"})
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            await ask(rig)
    rig.model.failure = None
    assert said(await ask(rig))[1] == "miss"


async def streamed(rig: Rig, path: str, body: dict[str, Any]) -> tuple[str | None, bytes]:
    headers = {"authorization": f"Bearer {rig.key}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(rig.url + path, json=body) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers.get("x-charkha-cache"), await answer.read()


CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "the sky"}'}}


@pytest.mark.parametrize("scripted", [{"content": "one two three"}, {"content": "see:", "tool_calls": [CALL]}])
@pytest.mark.parametrize("first", [True, False])
async def test_openais_client_reads_a_replay_as_the_original(rig: Rig, first: bool, scripted: dict[str, Any]) -> None:
    await rig.endpoint(cache=POLICY)
    rig.model.script = [scripted]
    body: dict[str, Any] = {"model": "support", "messages": HELLO, "temperature": 0}
    found = []
    async with rig.client() as client:
        for stream in (first, not first, True, False):
            if stream:
                async with client.chat.completions.stream(**body, stream_options={"include_usage": True}) as events:
                    found.append(await events.get_final_completion())
            else:
                found.append(await client.chat.completions.create(**body))
    assert len(rig.model.requests) == 1
    assert [record.cache for record in await closed(rig, 4)] == ["miss", "hit", "hit", "hit"]
    for answer in found:
        choice = answer.choices[0]
        assert choice.message.content == scripted["content"]
        assert choice.finish_reason == ("tool_calls" if "tool_calls" in scripted else "stop")
        calls = [(each.id, each.function.name, each.function.arguments) for each in choice.message.tool_calls or []]
        assert calls == ([("call_1", "look", '{"at": "the sky"}')] if "tool_calls" in scripted else [])
        assert answer.usage == found[0].usage
        assert answer.model == "support"
    assert len({answer.id for answer in found}) == 4


async def test_the_usage_chunk_of_a_replay_comes_only_if_asked_for(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    body = {"model": "support", "messages": HELLO, "temperature": 0, "stream": True}
    for include in (True, False, True):
        more = {"stream_options": {"include_usage": True}} if include else {}
        _, told = await streamed(rig, "/chat/completions", {**body, **more})
        assert told.endswith(b"data: [DONE]\n\n")
        assert (b'"prompt_tokens"' in told) is include


@pytest.mark.parametrize("first", [True, False])
async def test_every_dialect_reads_a_replay_as_the_original(rig: Rig, first: bool) -> None:
    await rig.endpoint(cache=CachePolicy(60, max_temperature=2))
    rig.model.script = [{"content": "one two three"}]
    url = rig.url.removesuffix("/v1")
    asked: Any = {"model": "support", "messages": HELLO, "max_tokens": 50}
    told = []
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key=rig.key, max_retries=0) as messages,
        rig.client() as client,
    ):
        for stream in (first, not first):
            if stream:
                async with messages.messages.stream(**asked) as events:
                    said_so = await events.get_final_message()
            else:
                said_so = await messages.messages.create(**asked)
            told.append((said_so.content[0].text, said_so.stop_reason, said_so.usage.output_tokens))  # type: ignore[union-attr]
        chat = await client.chat.completions.create(**asked)
        assert chat.choices[0].message.content == "one two three", "the same chat, whichever dialect asked it first"
        answers: Any = {"model": "support", "input": "hello there", "max_output_tokens": 50}
        for stream in (first, not first):
            if stream:
                async with client.responses.stream(**answers) as steps:
                    response = await steps.get_final_response()
            else:
                response = await client.responses.create(**answers)
            assert response.usage is not None
            told.append((response.output_text, response.status, response.usage.output_tokens))
    assert told[:2] == [("one two three", "end_turn", 3)] * 2
    assert told[2:] == [(told[2][0], "completed", told[2][2])] * 2
    assert told[2][0] in ("one two three", "echo: hello there")
    found = Counter(record.cache for record in await closed(rig, 5))
    assert found["hit"] == 5 - len(rig.model.requests) >= 3


async def test_completions_and_embeddings_are_given_again(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    async with rig.client() as client:
        for _ in range(2):
            text = await client.completions.create(model="support", prompt="say it", temperature=0)
            assert text.choices[0].text == "echo: say it"
            async with await client.completions.create(
                model="support", prompt="say it", temperature=0, stream=True
            ) as stream:
                assert "".join([each.choices[0].text async for each in stream if each.choices]) == "echo: say it"
            found = await client.embeddings.create(model="support", input="a", encoding_format="float")
            assert found.data[0].embedding == [0.5, -0.5]
    assert len(rig.model.requests) == 2
    assert Counter(record.cache for record in await closed(rig, 6)) == {"miss": 2, "hit": 4}


async def test_a_stampede_makes_one_call(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    rig.model.pause = 0.3
    body = {"model": "support", "messages": HELLO, "temperature": 0}
    asked = [streamed(rig, "/chat/completions", {**body, "stream": number % 2 == 1}) for number in range(50)]
    found = await asyncio.gather(*asked)
    assert len(rig.model.requests) == 1
    assert Counter(result for result, _ in found) == {"miss": 1, "hit": 49}
    assert all(b"hello" in told for _, told in found)
    records = await closed(rig, 50)
    assert sum(record.prompt_tokens or 0 for record in records) == 7


async def test_requests_that_differ_do_not_wait_for_one_another(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    rig.model.pause = 0.2
    await asyncio.gather(*(ask(rig, f"{number}") for number in range(20)))
    assert len(rig.model.requests) == 20


EQUAL = {"model": "support", "messages": HELLO, "temperature": 0}


async def following(rig: Rig, leader: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
    """Five who wait for the answer that the leader has asked for."""
    while not rig.model.requests:
        await asyncio.sleep(0.01)
    others = [asyncio.create_task(streamed(rig, "/chat/completions", EQUAL)) for _ in range(5)]
    while rig.gateway._room.taken < 6:
        assert not leader.done()
        await asyncio.sleep(0.01)
    return others


async def test_if_the_leader_departs_another_leads(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    rig.model.pause = 8
    leader = asyncio.create_task(streamed(rig, "/chat/completions", EQUAL))
    others = await following(rig, leader)
    rig.model.pause = 0
    leader.cancel()
    found = await asyncio.gather(*others)
    assert Counter(result for result, _ in found) == {"miss": 1, "hit": 4}
    assert all(b"echo: hello there" in told for _, told in found)
    assert len(rig.model.requests) == 2
    assert sorted(record.status for record in await closed(rig, 6)) == [200] * 5 + [499]


async def test_if_the_leader_fails_another_leads(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    rig.model.pause, rig.model.break_after = 3, 1
    leader = asyncio.create_task(streamed(rig, "/chat/completions", {**EQUAL, "stream": True}))
    others = await following(rig, leader)
    rig.model.pause = 0.05
    _, told = await leader
    assert b"[DONE]" not in told
    rig.model.break_after = -1
    found = await asyncio.gather(*others)
    assert Counter(result for result, _ in found)["hit"] == 4
    assert len(rig.model.requests) <= 3


async def test_a_slow_leader_holds_nobody_up_for_long(rig: Rig) -> None:
    await rig.endpoint(cache=POLICY)
    rig.gateway._limits = replace(rig.gateway._limits, request_seconds=2.0)
    rig.model.pause = 1.7
    leader = asyncio.create_task(ask(rig))
    while not rig.model.requests:
        await asyncio.sleep(0.01)
    rig.model.pause = 0
    assert said(await ask(rig)) == ("echo: hello there", "miss"), "half of its time was enough to wait"
    assert not leader.done()
    assert said(await leader)[1] == "miss"


ALIKE = CachePolicy(seconds=60, semantic=SemanticPolicy("local", "embedder", 0.9))
ENGLISH, NEAR, FAR = "what is the time", "what time is it", "what is the weather"


def chats(rig: Rig) -> int:
    """How often the model was asked for an answer."""
    return sum("messages" in request for request in rig.model.requests)


def set_vectors(rig: Rig) -> None:
    rig.model.vectors = {ENGLISH: [1.0, 0.0, 0.0], NEAR: [2.0, 0.4, 0.0], FAR: [0.6, 0.8, 0.0]}


async def test_what_asks_alike_gets_the_answer_too(rig: Rig) -> None:
    await rig.endpoint(cache=ALIKE)
    await price(rig, 1_000_000, 1_000_000)
    set_vectors(rig)
    assert said(await ask(rig, ENGLISH))[1] == "miss"
    near = await ask(rig, NEAR)
    assert said(near) == (f"echo: {ENGLISH}", "semantic")
    assert float(near.headers["x-charkha-similarity"]) == pytest.approx(2 / (4.16**0.5), abs=1e-4)
    assert int(near.headers["age"]) <= 5
    far = await ask(rig, FAR)
    assert said(far) == (f"echo: {FAR}", "miss")
    assert "x-charkha-similarity" not in far.headers
    again = await ask(rig, ENGLISH)
    assert said(again)[1] == "hit"
    assert "x-charkha-similarity" not in again.headers
    assert chats(rig) == 2
    assert [request["model"] for request in rig.model.requests if "input" in request] == ["embedder"] * 3
    records = await closed(rig, 4)
    assert [record.cache for record in records] == ["miss", "semantic", "miss", "hit"]
    assert [record.saved for record in records] == [None, records[0].cost, None, records[0].cost]


async def test_what_asks_alike_elsewhere_or_otherwise_gets_none(rig: Rig) -> None:
    await rig.endpoint(cache=ALIKE)
    await rig.endpoint("sales", cache=ALIKE)
    await rig.endpoint(cache=ALIKE, workspace_id=rig.other_id)
    set_vectors(rig)
    await ask(rig, ENGLISH)
    assert said(await ask(rig, NEAR, key=rig.other_key))[1] == "miss"
    assert said(await ask(rig, NEAR, model="sales"))[1] == "miss"
    assert said(await ask(rig, NEAR, temperature=0.1))[1] == "miss"
    assert said(await ask(rig, NEAR, temperature=1.5))[1] == "off"
    before = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hi"}]
    assert said(await ask(rig, messages=[*before, {"role": "user", "content": NEAR}]))[1] == "miss"
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    assert said(await ask(rig, NEAR, tools=tools))[1] == "off"
    assert said(await ask(rig, NEAR, headers={"cache-control": "no-store"}))[1] == "off"
    assert said(await ask(rig, NEAR))[1] == "semantic"


async def test_a_stampede_makes_one_embedding_too(rig: Rig) -> None:
    await rig.endpoint(cache=ALIKE)
    set_vectors(rig)
    await ask(rig, ENGLISH)
    rig.model.requests.clear()
    found = await asyncio.gather(*(ask(rig, NEAR) for _ in range(20)))
    assert {said(raw) for raw in found} == {(f"echo: {ENGLISH}", "semantic")}
    assert (len(rig.model.requests), chats(rig)) == (1, 0)


@pytest.mark.parametrize("vector", [[0.0, 0.0], []])
async def test_an_embedding_that_is_none_costs_no_answer(rig: Rig, vector: list[float]) -> None:
    await rig.endpoint(cache=ALIKE)
    rig.model.vectors = {ENGLISH: vector}
    assert said(await ask(rig, ENGLISH))[1] == "miss"
    assert said(await ask(rig, ENGLISH))[1] == "hit"


async def test_an_engine_that_embeds_nothing_is_left_alone_for_a_while(rig: Rig) -> None:
    elsewhere = FakeEngine("http://127.0.0.1:9", name="dead")
    rig.gateway._upstream._engines = {**rig.gateway._upstream._engines, "dead": elsewhere}
    rig.endpoints._engines = {"local", "dead"}
    await rig.endpoint(cache=CachePolicy(60, semantic=SemanticPolicy("dead", "embedder", 0.9)))
    began = asyncio.get_running_loop().time()
    for text in (ENGLISH, NEAR, FAR):
        assert said(await ask(rig, text)) == (f"echo: {text}", "miss")
    assert asyncio.get_running_loop().time() - began < 4.5, "one of them waited, and no other"
    assert said(await ask(rig, ENGLISH))[1] == "hit"


async def test_an_engine_that_keeps_prompts_apart_is_told_whose_they_are(rig: Rig) -> None:
    await rig.endpoint()
    await ask(rig)
    assert "partition" not in rig.model.requests[-1]
    rig.engine.partitions_prompts = True  # type: ignore[attr-defined]
    await ask(rig)
    await ask(rig, model="tiny", key=rig.other_key)
    async with rig.client() as client:
        await client.completions.create(model="support", prompt="say it")
        told = [request["partition"] for request in rig.model.requests[-3:]]
        assert told == [rig.workspace_id.hex, rig.other_id.hex, rig.workspace_id.hex]
        await client.embeddings.create(model="support", input="a")
    assert "partition" not in rig.model.requests[-1]
    opened, body, _ = rig.last()
    assert opened.operation == "embedding"
    assert body is not None
    assert "partition" not in body
