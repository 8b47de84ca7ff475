"""Chats with tools, pictures and formats at the gateway: passed on one to one, kept in the log, and never misread."""

import json
from typing import Any

import openai
import pytest

from charkha.observe.domain import prompt_of

from .conftest import Rig

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello there"}]
PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": PLACE, "strict": True}}
CALLS = [
    {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'}}
    for city in ("Paris", "Pune")
]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
ROUND: list[dict[str, Any]] = [
    {"role": "developer", "content": "Look things up."},
    {"role": "user", "content": [{"type": "text", "text": "Where is it warmer?"}, PICTURE]},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "tool_call_id": "call_Paris", "content": "12"},
    {"role": "tool", "tool_call_id": "call_Pune", "content": [{"type": "text", "text": "31"}]},
]
WANTED: dict[str, Any] = {
    "tools": [TOOL],
    "tool_choice": "required",
    "parallel_tool_calls": True,
    "response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE, "strict": True}},
    "logprobs": True,
    "top_logprobs": 2,
    "n": 2,
    "seed": 7,
    "stop": ["."],
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "logit_bias": {"15": -100},
    "max_completion_tokens": 50,
}


async def test_what_an_engine_can_do_reaches_it_as_it_was_asked(rig: Rig) -> None:
    await rig.endpoint()
    async with rig.client() as client:
        await client.chat.completions.create(model="support", messages=ROUND, **WANTED)
    assert rig.model.requests[-1] == {"model": "tiny", "messages": ROUND, **WANTED, "adapters": []}


async def test_the_log_keeps_the_calls_and_learning_reads_the_text(rig: Rig) -> None:
    await rig.endpoint()
    async with rig.client() as client:
        await client.chat.completions.create(model="support", messages=ROUND, tools=[TOOL])
    opened, body, _ = rig.last()
    assert body is not None
    assert (body["messages"], body["tools"]) == (ROUND, [TOOL])
    assert [(turn.role, turn.content) for turn in prompt_of(opened.request)] == [
        ("system", "Look things up."),
        ("user", "Where is it warmer?"),
        ("assistant", ""),
        ("tool", "12"),
        ("tool", "31"),
    ]


async def test_tool_calls_are_answered_whole(rig: Rig) -> None:
    await rig.endpoint()
    rig.model.script = [{"tool_calls": CALLS}]
    async with rig.client() as client:
        answer = await client.chat.completions.create(model="support", messages=HELLO, tools=[TOOL])
    calls = answer.choices[0].message.tool_calls or []
    assert [call.model_dump(exclude_none=True) for call in calls] == CALLS
    closed = rig.last()[2]
    assert (closed.finish_reason, closed.answer) == ("tool_calls", "")


async def test_tool_calls_are_streamed_one_to_one(rig: Rig) -> None:
    await rig.endpoint()
    rig.model.script = [{"content": "Let me see.", "tool_calls": CALLS}]
    async with (
        rig.client() as client,
        client.chat.completions.stream(model="support", messages=HELLO, tools=[TOOL]) as stream,
    ):
        deltas = [event.chunk.choices[0].delta async for event in stream if event.type == "chunk"]
        final = await stream.get_final_completion()
    pieces = [piece for delta in deltas for piece in delta.tool_calls or []]
    told = ["".join(p.function.arguments for p in pieces if p.index == n and p.function) for n in (0, 1)]
    assert told == [call["function"]["arguments"] for call in CALLS]
    assert [p.index for p in pieces] == sorted(p.index for p in pieces)
    assert len(pieces) == 2 + sum(-(-len(arguments) // 5) for arguments in told)
    message = final.choices[0].message
    assert (message.content, len(message.tool_calls or [])) == ("Let me see.", 2)
    closed = rig.last()[2]
    assert (closed.finish_reason, closed.answer, closed.prompt_tokens) == ("tool_calls", "Let me see.", 7)
    assert closed.first_token_ms is not None


async def test_a_broken_tool_turn_is_refused_by_name(rig: Rig) -> None:
    async with rig.client() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="tiny", messages=[{"role": "tool", "content": "12"}])  # type: ignore[list-item,unused-ignore]
    assert caught.value.param == "messages[0].tool_call_id"
    assert rig.records() == ([], [])


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [{"type": "text", "text": 7}, "loose", {"type": "image_url"}, None]}],
        [{"role": ["user"], "content": "a"}, 7, {"role": "user", "content": {"a": 1}}],
    ],
)
def test_reading_what_was_logged_never_fails(messages: list[Any]) -> None:
    assert all(turn.content == "" for turn in prompt_of(json.dumps({"messages": messages}).encode()))
