"""Services that are almost OpenAI's: each passes the conformance suite, and behind the gateway none can be told from it."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import openai as official
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.kit import egress
from charkha.serve.engines import openai
from charkha.serve.engines.tool_calls import StreamedCalls, WholeCalls
from charkha.serve.ports import Engine, EngineDeps
from charkha.serve.refusals import Refusal
from charkha.testing.conformance.engines import EngineConformance, Subject
from charkha.testing.serving import serving
from tests.serve.conftest import Rig
from tests.serve.dialects.strategies import anything

from .flavours import FLAVOURS, KEY, REFUSED, WRONG, Flavour, Service

pytestmark = pytest.mark.anyio
HELLO: Any = [{"role": "user", "content": "hello there"}]
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALLS = [("weather", {"city": "Paris"}), ("weather", {"city": "Pune"})]


def engine_of(flavour: Flavour, address: str, deps: EngineDeps) -> openai.OpenAICompatible:
    config = openai.Config(name=flavour.name, url=f"{address}/v1", models={flavour.name: "m"}, length=flavour.length)
    return openai.build(config, deps)


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=FLAVOURS)
class TestConformance(EngineConformance):
    @pytest.fixture
    async def subject(self, flavour: Flavour, tmp_path: Path) -> AsyncIterator[Subject]:
        async with serving(Service(flavour)) as address, aiohttp.ClientSession() as session:
            deps = EngineDeps(lambda: session, tmp_path, "", api_key=KEY)
            yield Subject(engine_of(flavour, address, deps), session, flavour.name)


@pytest.fixture
async def services() -> dict[str, Service]:
    return {name: Service(flavour) for name, flavour in FLAVOURS.items()}


@pytest.fixture
async def others(services: dict[str, Service], tmp_path: Path) -> AsyncIterator[dict[str, Engine]]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(egress.session(allowed_hosts=["127.0.0.1"]))
        deps = EngineDeps(lambda: session, tmp_path, "", api_key=KEY)
        engines: dict[str, Engine] = {}
        for name, service in services.items():
            address = await stack.enter_async_context(serving(service))
            engines[name] = engine_of(service.flavour, address, deps)
        yield engines


async def test_behind_the_gateway_all_are_openai(rig: Rig, services: dict[str, Service]) -> None:
    async with rig.client() as client:
        for name, service in services.items():
            answer = await client.chat.completions.create(model=name, messages=HELLO, max_completion_tokens=5)
            assert (answer.choices[0].message.content, answer.model) == ("echo: hello there", name)
            assert answer.id == f"chatcmpl-{rig.last()[0].id}"
            assert service.requests[-1][service.flavour.length] == 5
            assert len({"max_tokens", "max_completion_tokens"} & service.requests[-1].keys()) == 1
            await _streams(client, name)
            await _calls(client, name)
            refused: Any = [{"role": "user", "content": REFUSED}]
            for stream in (False, True):
                with pytest.raises(official.APIStatusError, match=WRONG) as caught:
                    await client.chat.completions.create(model=name, messages=refused, stream=stream)
                assert caught.value.status_code == service.flavour.refuses
        assert {closed.prompt_tokens for closed in rig.records()[1] if closed.status == 200} == {7}


async def _streams(client: official.AsyncOpenAI, name: str) -> None:
    """Usage comes once, last and exact, if it is asked for; and never, if not."""
    for asked in (False, True):
        options: Any = {"stream_options": {"include_usage": True}} if asked else {}
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(model=name, messages=HELLO, stream=True, **options)
        ]
        assert len({chunk.id for chunk in chunks if chunk.choices}) == 1
        assert chunks[0].id.startswith("chatcmpl-")
        told = [chunk for chunk in chunks if chunk.usage]
        assert len(told) == asked
        if asked:
            assert chunks[-1].choices == []
            assert chunks[-1].usage is not None
            assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (7, 6)


async def _calls(client: official.AsyncOpenAI, name: str) -> None:
    """Two calls at once, put together by the official client."""
    whole = await client.chat.completions.create(model=name, messages=HELLO, tools=TOOLS)
    async with client.chat.completions.stream(model=name, messages=HELLO, tools=TOOLS) as stream:
        streamed = await stream.get_final_completion()
    for answer in (whole, streamed):
        calls = answer.choices[0].message.tool_calls or []
        told = [(call.function.name, json.loads(call.function.arguments)) for call in calls]
        assert told == CALLS, name
        assert len({call.id for call in calls} - {""}) == 2
        assert answer.choices[0].finish_reason == "tool_calls"


def mended(events: list[Any], *, named: bool = False) -> list[Any]:
    """The events of a stream after the translator."""
    translator = StreamedCalls("n", named=named)
    assert translator.status(200) == 200
    out = b"".join(translator.feed(b"data: " + json.dumps(each).encode() + b"\n\n") for each in events)
    return [json.loads(line.removeprefix(b"data: ")) for line in out.split(b"\n\n") if line]


def event(*calls: Any, reason: str | None = None) -> Any:
    return {"choices": [{"index": 0, "delta": {"tool_calls": list(calls)} if calls else {}, "finish_reason": reason}]}


_ids = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4, unique=True)


@settings(deadline=None)
@given(_ids, st.lists(st.integers(0, 3), max_size=9), st.text(max_size=3))
def test_calls_that_are_told_apart_pass_byte_for_byte(ids: list[str], order: list[int], text: str) -> None:
    pieces = [
        event({"index": place, "id": each, "type": "function", "function": {"name": "f", "arguments": ""}})
        for place, each in enumerate(ids)
    ]
    pieces += [event({"index": place % len(ids), "function": {"arguments": text}}) for place in order]
    events = [*pieces, event(reason="tool_calls")]
    translator = StreamedCalls("n", named=False)
    translator.status(200)
    lines = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)
    assert b"".join(translator.feed(lines[start : start + 5]) for start in range(0, len(lines), 5)) == lines


@settings(deadline=None)
@given(_ids, st.sampled_from(["no index", "null", "all zero"]), st.booleans(), st.integers(0, 3))
def test_calls_get_indices_of_their_own(ids: list[str], lack: str, nameless: bool, more: int) -> None:
    index: dict[str, Any] = {"no index": {}, "null": {"index": None}, "all zero": {"index": 0}}[lack]
    nameless = nameless and lack != "all zero"  # one index and no ids: nothing would tell calls apart
    events = []
    for each in ids:
        events.append(event({**index, "id": "" if nameless else each, "function": {"name": each, "arguments": "{"}}))
        events += [event({**index, "function": {"arguments": " "}}) for _ in range(more)]
        events.append(event({**index, "function": {"arguments": "}"}}))
    calls: dict[int, list[str]] = {}
    for told in mended([*events, event(reason="stop")])[:-1]:
        (piece,) = told["choices"][0]["delta"]["tool_calls"]
        call = calls.setdefault(piece["index"], ["", "", ""])
        call[0] += piece.get("id") or ""
        call[1] += piece["function"].get("name") or ""
        call[2] += piece["function"]["arguments"]
    assert [calls[place][1:] for place in range(len(ids))] == [[each, "{" + " " * more + "}"] for each in ids]
    assert len({call[0] for call in calls.values()} - {""}) == len(ids)


def test_a_stop_after_calls_is_right_only_where_a_tool_was_named() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    reasons = [
        mended([event(call), event(reason="stop")], named=named)[-1]["choices"][0]["finish_reason"]
        for named in (False, True)
    ]
    assert reasons == ["tool_calls", "stop"]
    assert mended([event(reason="stop")])[-1]["choices"][0]["finish_reason"] == "stop"
    assert mended([event(call), event(reason="length")])[-1]["choices"][0]["finish_reason"] == "length"


@settings(deadline=None)
@given(
    anything
    | st.fixed_dictionaries(
        {"choices": st.lists(anything | st.fixed_dictionaries({"delta": anything, "message": anything}), max_size=2)}
    )
)
def test_nonsense_passes_as_it_is(answer: Any) -> None:
    """For the gateway to refuse: a translator raises nothing."""
    body = json.dumps(answer).encode().replace(b"\n", b"")
    whole = WholeCalls("n", named=False)
    whole.status(200)
    assert whole.feed(body) == b""
    assert isinstance(json.loads(whole.end()), type(json.loads(body)))
    for payload in (body, body.replace(b'"message"', b'"tool_calls"')):
        streamed = StreamedCalls("n", named=False)
        streamed.status(200)
        assert streamed.feed(b"data: " + payload + b"\n\n").startswith(b"data: ")


@given(anything | st.binary(max_size=50))
def test_any_refusal_is_read(told: Any) -> None:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    refusal = Refusal.of(body)
    assert all(isinstance(each, str | None) for each in (refusal.message, refusal.param, refusal.code))
