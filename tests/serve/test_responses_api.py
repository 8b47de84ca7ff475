"""OpenAI's official client and its responses, unmodified, against the gateway."""

from typing import Any
from uuid import UUID

import openai
import pytest

from charkha.serve.variants import VariantSpec

from .conftest import Rig

pytestmark = pytest.mark.anyio
SPEC = VariantSpec(engine="local", model="tiny", system_prompt="Be brief.")
TOOL: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
CALLS = [
    {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'}}
    for city in ("Paris", "Pune")
]


async def test_a_response_is_made_and_written_down(rig: Rig) -> None:
    await rig.endpoint(spec=SPEC)
    async with rig.client() as client:
        response = await client.responses.create(
            model="support", input="hello there", max_output_tokens=9, user="u-1", metadata={"a": "b"}
        )
    assert (response.output_text, response.status, response.model) == ("echo: hello there", "completed", "support")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (7, 3, 10)
    assert (response.store, response.metadata, response.max_output_tokens) == (False, {"a": "b"}, 9)
    opened, body, closed = rig.last()
    assert body == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello there"}],
        "max_completion_tokens": 9,
    }
    assert UUID(response.id.removeprefix("resp_")) == opened.id
    assert (opened.subject_id, opened.operation, closed.answer) == ("u-1", "chat", "echo: hello there")


async def test_a_response_is_streamed(rig: Rig) -> None:
    await rig.endpoint()
    async with rig.client() as client, client.responses.stream(model="support", input="hello there") as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == "echo: hello there"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events if event.type != "response.output_text.delta"] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    opened, _, closed = rig.last()
    assert (final.id, closed.answer, closed.prompt_tokens) == (f"resp_{opened.id}", "echo: hello there", 7)


@pytest.mark.parametrize("streamed", [False, True])
async def test_functions_are_called_and_their_outputs_come_back(rig: Rig, streamed: bool) -> None:
    await rig.endpoint()
    rig.model.script = [{"content": "I look.", "tool_calls": CALLS}]
    asked: Any = {"model": "support", "tools": [TOOL], "instructions": "Look things up."}
    async with rig.client() as client:
        if streamed:
            async with client.responses.stream(input="warmer?", **asked) as stream:
                response: Any = await stream.get_final_response()
        else:
            response = await client.responses.create(input="warmer?", **asked)
        calls = [item for item in response.output if item.type == "function_call"]
        assert [(call.call_id, call.arguments) for call in calls] == [
            (call["id"], call["function"]["arguments"])
            for call in CALLS  # type: ignore[index]
        ]
        outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "12"} for call in calls]
        turns: Any = [{"role": "user", "content": "warmer?"}, *response.output, *outputs]
        await client.responses.create(input=turns, **asked)
    sent = rig.model.requests[-1]["messages"]
    assert [turn["role"] for turn in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert (sent[2]["content"], [call["id"] for call in sent[2]["tool_calls"]]) == (
        "I look.",
        ["call_Paris", "call_Pune"],
    )


async def test_what_needs_a_memory_is_refused(rig: Rig) -> None:
    async with rig.client() as client:
        for field in ({"store": True}, {"previous_response_id": "resp_1"}):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.responses.create(model="tiny", input="a", **field)  # type: ignore[call-overload]
            assert caught.value.code == "unsupported_parameter"
    assert rig.records() == ([], [])


async def test_a_broken_stream_ends_with_an_error_and_never_looks_whole(rig: Rig) -> None:
    await rig.endpoint()
    rig.model.break_after = 2
    kinds = []
    async with rig.client() as client:
        with pytest.raises(openai.APIError):
            async for event in await client.responses.create(model="support", input="hello there", stream=True):
                kinds.append(event.type)
                if event.type == "error":
                    raise openai.APIError(event.message, request=None, body=None)  # type: ignore[arg-type]
    assert "response.output_text.delta" in kinds
    assert "response.completed" not in kinds
    assert rig.last()[2].error_code == "engine_lost"
