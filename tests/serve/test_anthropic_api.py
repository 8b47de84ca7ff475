"""Anthropic's official client, unmodified, against the gateway: messages, streams, tools, counts, errors, the record."""

from typing import Any
from uuid import UUID

import aiohttp
import anthropic
import pytest

from charkha.serve.gateway import GatewayLimits
from charkha.serve.variants import VariantSpec

from .conftest import Rig

pytestmark = pytest.mark.anyio
HELLO: Any = [{"role": "user", "content": "hello there"}]
SPEC = VariantSpec(engine="local", model="tiny", system_prompt="Be brief.", parameters={"temperature": 0.5})
TOOL: Any = {"name": "weather", "description": "Now", "input_schema": {"type": "object"}}
CALLS = [
    {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'}}
    for city in ("Paris", "Pune")
]


def client(rig: Rig, **options: Any) -> anthropic.AsyncAnthropic:
    """The official client, without its own retries; it shows the key as `x-api-key`."""
    return anthropic.AsyncAnthropic(
        base_url=rig.url.removesuffix("/v1"), **{"api_key": rig.key, "max_retries": 0, **options}
    )


async def test_a_message_is_answered_and_written_down(rig: Rig) -> None:
    endpoint = await rig.endpoint(spec=SPEC)
    async with client(rig) as http:
        raw = await http.messages.with_raw_response.create(
            model="support", max_tokens=9, messages=HELLO, stop_sequences=["END"], metadata={"user_id": "u-1"}
        )
    message = await raw.parse()
    assert [block.text for block in message.content if block.type == "text"] == ["echo: hello there"]
    assert (message.model, message.stop_reason) == ("support", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 3)
    opened, body, closed = rig.last()
    assert body == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["END"],
    }
    assert UUID(message.id.removeprefix("msg_")) == opened.id
    assert raw.headers["request-id"] == raw.headers["x-request-id"] == str(opened.id)
    assert (opened.endpoint_id, opened.operation, opened.subject_id) == (endpoint.id, "chat", "u-1")
    assert (closed.status, closed.answer, closed.completion_tokens) == (200, "echo: hello there", 3)


async def test_a_key_may_come_as_a_bearer_token_as_well(rig: Rig) -> None:
    async with client(rig, api_key=None, auth_token=rig.key) as http:
        assert await http.messages.create(model="tiny", max_tokens=9, messages=HELLO)


async def test_the_clients_beta_messages_are_answered_too(rig: Rig) -> None:
    async with client(rig) as http:
        message = await http.beta.messages.create(
            model="tiny", max_tokens=9, messages=HELLO, betas=["context-management-2025-06-27"]
        )
    assert message.stop_reason == "end_turn"


async def test_a_message_is_streamed(rig: Rig) -> None:
    await rig.endpoint()
    async with (
        client(rig) as http,
        http.messages.stream(model="support", max_tokens=9, system="Be kind.", messages=HELLO) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == "echo: hello there"
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("end_turn", 7, 3)
    opened, body, closed = rig.last()
    assert body is not None
    assert body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert final.id == f"msg_{opened.id}"
    assert opened.stream
    assert (closed.answer, closed.finish_reason, closed.prompt_tokens) == ("echo: hello there", "stop", 7)
    assert closed.first_token_ms is not None


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_are_called_at_once_and_their_results_come_back(rig: Rig, streamed: bool) -> None:
    await rig.endpoint()
    rig.model.script = [{"content": "I look.", "tool_calls": CALLS}]
    asked: Any = {"model": "support", "max_tokens": 99, "tools": [TOOL], "tool_choice": {"type": "any"}}
    async with client(rig) as http:
        if streamed:
            async with http.messages.stream(messages=HELLO, **asked) as stream:
                message = await stream.get_final_message()
        else:
            message = await http.messages.create(messages=HELLO, **asked)
        uses = [block for block in message.content if block.type == "tool_use"]
        assert [(use.id, use.input) for use in uses] == [
            ("call_Paris", {"city": "Paris"}),
            ("call_Pune", {"city": "Pune"}),
        ]
        assert message.stop_reason == "tool_use"
        results: Any = [{"type": "tool_result", "tool_use_id": use.id, "content": "12"} for use in uses]
        turns: Any = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
        await http.messages.create(messages=turns, **asked)
    sent = rig.model.requests[-1]
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent["messages"][1]["tool_calls"]] == ["call_Paris", "call_Pune"]
    assert sent["tools"][0]["function"] == {"name": "weather", "description": "Now", "parameters": {"type": "object"}}
    assert sent["tool_choice"] == "required"


async def test_a_broken_stream_ends_with_an_error_and_never_looks_whole(rig: Rig) -> None:
    await rig.endpoint()
    rig.model.break_after = 2
    body = {"model": "support", "max_tokens": 9, "messages": HELLO, "stream": True}
    async with (
        aiohttp.ClientSession(headers={"x-api-key": rig.key}) as http,
        http.post(f"{rig.url}/messages", json=body) as answer,
    ):
        told = await answer.text()
    assert "event: content_block_delta" in told
    assert "message_stop" not in told
    assert told.rstrip().splitlines()[-2] == "event: error"
    assert rig.last()[2].error_code == "engine_lost"
    async with client(rig) as again:
        with pytest.raises(anthropic.APIStatusError):
            async with again.messages.stream(model="support", max_tokens=9, messages=HELLO) as stream:
                await stream.get_final_message()


async def test_an_answer_that_makes_no_sense_is_the_engines_failure(rig: Rig) -> None:
    await rig.endpoint()
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{"}}
    rig.model.script = [{"tool_calls": [call]}]
    async with client(rig) as http:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await http.messages.create(model="support", max_tokens=9, messages=HELLO, tools=[TOOL])
    assert caught.value.status_code == 502
    assert rig.last()[2].error_code == "engine_failed"


async def test_errors_are_anthropics(rig: Rig) -> None:
    async with client(rig) as http:
        with pytest.raises(anthropic.NotFoundError) as caught:
            await http.messages.create(model="none", max_tokens=9, messages=HELLO)
        assert isinstance(caught.value.body, dict)
        assert caught.value.body["error"]["type"] == "not_found_error"
        assert caught.value.request_id
        with pytest.raises(anthropic.BadRequestError):
            await http.messages.create(model="tiny", max_tokens=0, messages=HELLO)
    async with client(rig, api_key="nope") as http:
        with pytest.raises(anthropic.AuthenticationError):
            await http.messages.create(model="tiny", max_tokens=9, messages=HELLO)
    assert rig.records() == ([], [])


async def test_tokens_are_estimated_where_the_engine_cannot_count(rig: Rig) -> None:
    await rig.endpoint(spec=SPEC)
    async with client(rig) as http:
        raw = await http.messages.with_raw_response.count_tokens(model="support", messages=HELLO)
        more = await http.messages.count_tokens(model="support", messages=HELLO, tools=[TOOL])
        with pytest.raises(anthropic.NotFoundError):
            await http.messages.count_tokens(model="none", messages=HELLO)
    assert raw.headers["x-charkha-estimated"] == "true"
    assert 0 < (await raw.parse()).input_tokens < more.input_tokens
    assert rig.records() == ([], [])


@pytest.mark.parametrize("limits", [GatewayLimits(request_seconds=0.5, engine_patience_seconds=0.2)])
async def test_a_count_that_fails_is_told_of(rig: Rig, limits: GatewayLimits) -> None:
    rig.engine.counts_tokens = True  # type: ignore[attr-defined]  # it says so, and cannot
    async with client(rig) as http:
        for pause, address, status in ((0.0, rig.engine.address, 502), (30.0, rig.engine.address, 504), (0.0, "", 503)):
            rig.model.pause, rig.engine.address = pause, address
            with pytest.raises(anthropic.APIStatusError) as caught:
                await http.messages.count_tokens(model="tiny", messages=HELLO)
            assert caught.value.status_code == status
    assert rig.gateway._room.taken == 0


async def test_what_is_not_there_is_told_in_anthropics_form(rig: Rig) -> None:
    async with client(rig) as http:
        with pytest.raises(anthropic.NotFoundError) as caught:
            await http.messages.batches.list()
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == "not_found_error"


async def test_models_are_listed_in_anthropics_form_for_its_client(rig: Rig) -> None:
    endpoint = await rig.endpoint()
    async with client(rig) as http:
        models = [model async for model in http.models.list()]
        assert [(model.id, model.type) for model in models] == [("support", "model"), ("tiny", "model")]
        assert abs((models[0].created_at - endpoint.created_at).total_seconds()) < 5
        assert (await http.models.retrieve("tiny")).display_name == "tiny"
        with pytest.raises(anthropic.NotFoundError):
            await http.models.retrieve("none")
