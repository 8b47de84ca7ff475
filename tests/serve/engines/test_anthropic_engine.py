"""The plugin for Anthropic's API, against a server that has it: the conformance suite, and behind the whole gateway."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anthropic as official
import openai
import pytest
from pydantic import ValidationError

from charkha.kit import egress
from charkha.serve.engines import anthropic
from charkha.serve.ports import Engine, EngineDeps
from charkha.testing.conformance.engines import EngineConformance, Subject
from charkha.testing.engine_process import no_session
from charkha.testing.serving import serving
from tests.serve.conftest import Rig

from .fake_anthropic import KEY, FakeAnthropic

pytestmark = pytest.mark.anyio
CLAUDE, HELLO = "claude", [{"role": "user", "content": "hello there"}]
PARIS = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}
NOWHERE = {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


@pytest.fixture
def fake() -> FakeAnthropic:
    return FakeAnthropic()


@pytest.fixture
async def engine(
    fake: FakeAnthropic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[anthropic.Anthropic]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    async with serving(fake) as address, egress.session(allowed_hosts=["127.0.0.1"]) as session:
        config = anthropic.Config(url=f"{address}/v1", models={CLAUDE: "claude-opus-5"}, max_tokens=99)
        yield anthropic.build(config, EngineDeps(lambda: session, tmp_path, ""))


@pytest.fixture
def others(engine: anthropic.Anthropic) -> dict[str, Engine]:
    return {CLAUDE: engine}


class TestConformance(EngineConformance):
    @pytest.fixture
    async def subject(self, engine: anthropic.Anthropic) -> AsyncIterator[Subject]:
        async with aiohttp.ClientSession() as session:
            yield Subject(engine, session, CLAUDE)


async def test_the_server_of_these_tests_is_one_to_anthropics_own_client(fake: FakeAnthropic) -> None:
    """Else what is proven here would be proven of another API."""
    blocks = [{"type": "text", "text": "Let me look."}, PARIS, NOWHERE]
    fake.script = [(blocks, "tool_use"), (blocks, "tool_use")]
    asked: Any = {"model": "claude-opus-5", "max_tokens": 9, "messages": HELLO}
    async with (
        serving(fake) as address,
        official.AsyncAnthropic(base_url=address, api_key=KEY, max_retries=0) as client,
    ):
        whole = await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            streamed = await stream.get_final_message()
        told = [[block.model_dump(exclude={"parsed_output"}) for block in each.content] for each in (whole, streamed)]
        assert told[0] == told[1]
        assert [block["type"] for block in told[0]] == ["text", "tool_use", "tool_use"]
        assert (whole.usage.input_tokens, streamed.usage.output_tokens) == (4, 5)
        fake.failure = 529, "overloaded_error", "Overloaded"
        with pytest.raises(official.InternalServerError, match="Overloaded"):
            await client.messages.create(**asked)


def test_names_keys_and_versions_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "theirs")
    deps = EngineDeps(no_session, tmp_path, "ours")
    engine = anthropic.build(anthropic.Config(models={"ours": "theirs"}), deps)
    call = engine.upstream("/v1/chat/completions", {"model": "ours", "messages": HELLO}, ())
    assert call.url == "https://api.anthropic.com/v1/messages"
    assert (call.headers["x-api-key"], call.headers["anthropic-version"]) == ("theirs", "2023-06-01")
    assert json.loads(call.body) == {"model": "theirs", "max_tokens": 4096, "messages": HELLO}
    with pytest.raises(ValueError, match="embeddings"):
        engine.upstream("/v1/embeddings", {"model": "ours", "input": "x"}, ())
    with pytest.raises(ValueError, match="takes no adapters"):
        engine.upstream("/v1/chat/completions", {"model": "ours", "messages": HELLO}, [("a" * 64, 1.0)])
    with pytest.raises(ValueError, match="NOT_SET"):
        anthropic.build(anthropic.Config(api_key_env="NOT_SET"), deps)
    with pytest.raises(ValidationError):
        anthropic.Config(url="file:///etc/passwd")


async def test_a_wrong_key_is_not_healthy(engine: anthropic.Anthropic, fake: FakeAnthropic) -> None:
    assert (await engine.health()).ready
    fake.failure = 401, "authentication_error", "invalid x-api-key"
    health = await engine.health()
    assert (health.ready, health.detail) == (False, "status 401")


async def test_openais_client_is_answered_by_anthropic(rig: Rig, fake: FakeAnthropic) -> None:
    async with rig.client() as client:
        answer = await client.chat.completions.create(model=CLAUDE, messages=HELLO, stop="END", user="u-1")
    assert answer.choices[0].message.content == "echo: hello there"
    assert (answer.model, answer.choices[0].finish_reason) == (CLAUDE, "stop")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert (answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens) == (6, 2)
    _, headers, request = fake.requests[-1]
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert request == {
        "model": "claude-opus-5",
        "max_tokens": 99,
        "messages": HELLO,
        "stop_sequences": ["END"],
    }
    _, _, closed = rig.last()
    assert (closed.prompt_tokens, closed.completion_tokens, closed.finish_reason) == (6, 3, "stop")
    assert answer.id == f"chatcmpl-{rig.last()[0].id}"


async def test_tools_are_called_streamed_and_whole(rig: Rig, fake: FakeAnthropic) -> None:
    blocks = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Let me look."}, PARIS, NOWHERE]
    fake.script = [(blocks, "tool_use"), (blocks, "tool_use")]
    async with rig.client() as client:
        whole = await client.chat.completions.create(model=CLAUDE, messages=HELLO, tools=TOOLS)
        async with client.chat.completions.stream(
            model=CLAUDE, messages=HELLO, tools=TOOLS, stream_options={"include_usage": True}
        ) as stream:
            streamed = await stream.get_final_completion()
    for answer in (whole, streamed):
        message, calls = answer.choices[0].message, answer.choices[0].message.tool_calls or []
        assert (message.content, answer.choices[0].finish_reason) == ("Let me look.", "tool_calls")
        called = [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls]
        assert called == [("toolu_1", "weather", {"city": "Paris"}), ("toolu_2", "weather", {})]
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 6)
    assert rig.last()[2].finish_reason == "tool_calls"


async def test_anthropics_client_is_answered_by_anthropic(rig: Rig, fake: FakeAnthropic) -> None:
    fake.script = [([{"type": "text", "text": "Hello."}, PARIS], "tool_use")]
    address = rig.url.removesuffix("/v1")
    async with official.AsyncAnthropic(base_url=address, api_key=rig.key, max_retries=0) as client:
        tool: Any = {"name": "weather", "input_schema": {"type": "object"}}
        async with client.messages.stream(model=CLAUDE, max_tokens=9, messages=HELLO, tools=[tool]) as stream:  # type: ignore[arg-type]
            message = await stream.get_final_message()
        counted = await client.messages.count_tokens(model=CLAUDE, messages=HELLO)  # type: ignore[arg-type]
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.content[1].input == {"city": "Paris"}  # type: ignore[union-attr]
    assert (message.stop_reason, message.usage.cache_read_input_tokens) == ("tool_use", 2)
    assert counted.input_tokens == 6
    assert fake.requests[-1][0] == "/v1/messages/count_tokens"


async def test_what_anthropic_cannot_do_is_a_clear_error(rig: Rig, fake: FakeAnthropic) -> None:
    async with rig.client() as client:
        with pytest.raises(openai.BadRequestError, match="'seed'"):
            await client.chat.completions.create(model=CLAUDE, messages=HELLO, seed=1)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        ((400, "invalid_request_error", "messages: roles must alternate"), 400, "roles must alternate"),
        ((429, "rate_limit_error", "Number of tokens has been exceeded"), 429, "has been exceeded"),
        ((529, "overloaded_error", "Overloaded"), 503, "not ready"),
        ((500, "api_error", "Internal server error"), 502, "status 500"),
        ((401, "authentication_error", "invalid x-api-key"), 502, "status 401"),
    ],
)
async def test_anthropics_errors_are_ours(
    rig: Rig, fake: FakeAnthropic, failure: tuple[int, str, str], status: int, words: str
) -> None:
    fake.failure = failure
    async with rig.client() as client:
        for stream in (False, True):
            with pytest.raises(openai.APIStatusError, match=words) as caught:
                await client.chat.completions.create(model=CLAUDE, messages=HELLO, stream=stream)
            assert caught.value.status_code == status
            assert KEY not in caught.value.message


async def test_a_stream_that_anthropic_breaks_off_ends_in_an_error(rig: Rig, fake: FakeAnthropic) -> None:
    fake.breaks = "overloaded_error"
    async with rig.client() as client:
        with pytest.raises(openai.APIError):
            async for _ in await client.chat.completions.create(model=CLAUDE, messages=HELLO, stream=True):
                pass
    assert rig.last()[2].error_code == "engine_failed"
