"""The traffic of a coding agent, in each dialect by its official client: long contexts, 30 tools, rounds of parallel calls."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import pytest

from .conftest import Rig

pytestmark = pytest.mark.anyio
Json = dict[str, Any]

SYSTEM = ["You are a coding agent.", "The repository:\n" + "def function(argument): ...\n" * 6_000]
SCHEMA: Json = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
    "required": ["path"],
    "additionalProperties": False,
}
TOOLS = [(f"tool_{number}", f"Tool {number}. " + "It is described at length. " * 30) for number in range(30)]
ROUNDS, PARALLEL = 4, 5
FILE = '    return \'ünïcödé\', "quotes", \'\\n\', "id": "theirs"\n' * 200
TASK = "Find the fault."


def arguments(turn: int, call: int) -> Json:
    """What a call is made with; hostile to whoever cuts or replaces bytes carelessly."""
    return {"path": f'src/é "{turn}".py', "lines": [turn, call], "old": FILE[: 50 * call], "model": "tiny"}


def script() -> list[Json]:
    """What the model says in each round: a word and several calls, and in the end an answer."""
    rounds = []
    for turn in range(ROUNDS):
        calls = [
            {
                "id": f"call_{turn}_{call}",
                "type": "function",
                "function": {"name": f"tool_{call}", "arguments": json.dumps(arguments(turn, call))},
            }
            for call in range(PARALLEL)
        ]
        rounds.append({"content": f"Round {turn}.", "tool_calls": calls})
    return [*rounds, {"content": "Found it."}]


async def by_chat(rig: Rig) -> str:
    tools: Any = [
        {"type": "function", "function": {"name": name, "description": told, "parameters": SCHEMA}}
        for name, told in TOOLS
    ]
    parts = [{"type": "text", "text": text} for text in SYSTEM]
    messages: list[Any] = [{"role": "system", "content": parts}, {"role": "user", "content": TASK}]
    async with rig.client() as client:
        while True:
            async with client.chat.completions.stream(model="agent", messages=messages, tools=tools) as stream:
                message = (await stream.get_final_completion()).choices[0].message
            if not message.tool_calls:
                return message.content or ""
            messages.append(message.model_dump(include={"role", "content", "tool_calls"}, exclude_none=True))
            messages += [{"role": "tool", "tool_call_id": call.id, "content": FILE} for call in message.tool_calls]


async def by_messages(rig: Rig) -> str:
    tools: Any = [{"name": name, "description": told, "input_schema": SCHEMA} for name, told in TOOLS]
    tools[-1]["cache_control"] = {"type": "ephemeral"}
    system: Any = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}} for text in SYSTEM]
    messages: list[Any] = [{"role": "user", "content": TASK}]
    asked: Any = {"model": "agent", "max_tokens": 32_000, "system": system, "tools": tools}
    asked["metadata"] = {"user_id": '{"session_id": "s-1"}'}
    asked["extra_headers"] = {"anthropic-beta": "interleaved-thinking-2025-05-14"}
    async with anthropic.AsyncAnthropic(base_url=rig.url.removesuffix("/v1"), api_key=rig.key) as client:
        while True:
            async with client.messages.stream(messages=messages, **asked) as stream:
                message = await stream.get_final_message()
            if message.stop_reason != "tool_use":
                return "".join(block.text for block in message.content if block.type == "text")
            uses = [block for block in message.content if block.type == "tool_use"]
            messages.append({"role": "assistant", "content": message.content})
            results = [{"type": "tool_result", "tool_use_id": use.id, "content": FILE} for use in uses]
            messages.append({"role": "user", "content": results})


async def by_responses(rig: Rig) -> str:
    tools: Any = [
        {"type": "function", "name": name, "description": told, "parameters": SCHEMA, "strict": False}
        for name, told in TOOLS
    ]
    parts = [{"type": "input_text", "text": text} for text in SYSTEM]
    turns: list[Any] = [{"role": "system", "content": parts}, {"role": "user", "content": TASK}]
    asked: Any = {"model": "agent", "tools": tools, "store": False, "include": ["reasoning.encrypted_content"]}
    async with rig.client() as client:
        while True:
            async with client.responses.stream(input=turns, **asked) as stream:
                response = await stream.get_final_response()
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                return response.output_text
            turns += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]
            turns += [{"type": "function_call_output", "call_id": each.call_id, "output": FILE} for each in calls]


@pytest.mark.parametrize("drive", [by_chat, by_messages, by_responses])
async def test_an_agent_works_through_its_rounds(rig: Rig, drive: Callable[[Rig], Awaitable[str]]) -> None:
    await rig.endpoint("agent")
    rig.model.script = script()
    assert await drive(rig) == "Found it."
    assert len(rig.model.requests) == ROUNDS + 1
    last = rig.model.requests[-1]
    assert [tool["function"]["name"] for tool in last["tools"]] == [name for name, _ in TOOLS]
    assert all(tool["function"]["parameters"] == SCHEMA for tool in last["tools"])
    system, task, *turns = last["messages"]
    assert [part["text"] for part in system["content"]] == SYSTEM
    assert (task["role"], task["content"]) == ("user", TASK)
    expected: list[Any] = []
    for turn in range(ROUNDS):
        calls = [(f"call_{turn}_{call}", f"tool_{call}", arguments(turn, call)) for call in range(PARALLEL)]
        expected += [("assistant", f"Round {turn}.", calls), *(("tool", FILE, identity) for identity, _, _ in calls)]
    assert [told(turn) for turn in turns] == expected
    opened, closed = rig.records()
    assert [record.status for record in closed] == [200] * (ROUNDS + 1)
    assert [record.finish_reason for record in closed] == ["tool_calls"] * ROUNDS + ["stop"]
    assert closed[-1].answer == "Found it."
    assert opened[-1].request is not None
    assert json.loads(opened[-1].request)["messages"] == last["messages"]


def told(turn: Json) -> tuple[str, str, Any]:
    """A turn as it was sent to the engine, its calls' arguments read."""
    if turn["role"] == "tool":
        return "tool", turn["content"], turn["tool_call_id"]
    calls = [
        (each["id"], each["function"]["name"], json.loads(each["function"]["arguments"])) for each in turn["tool_calls"]
    ]
    return turn["role"], turn["content"], calls
