"""Every dialect against a real llama.cpp behind the gateway: what a miniature model says matters not, its form does."""

import json
from typing import Any, Literal

import anthropic
import openai
import pytest
from pydantic import BaseModel

from charkha.serve.ports import Engine

from .conftest import LLAMA, Rig

pytestmark = pytest.mark.anyio
HELLO: Any = [{"role": "user", "content": "Where is it warmer?"}]
SCHEMA: Any = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Pune"]}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


@pytest.fixture
def others(llama: dict[str, Engine]) -> dict[str, Engine]:
    return llama


def anthropics(rig: Rig) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=rig.url.removesuffix("/v1"), api_key=rig.key, max_retries=0)


async def test_a_chat_follows_its_schema(rig: Rig) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
    async with rig.client() as client:
        for seed in range(3):
            answer = await client.chat.completions.create(
                model=LLAMA, messages=HELLO, response_format=form, seed=seed, max_completion_tokens=60
            )
            told = json.loads(answer.choices[0].message.content or "")
            assert set(told) == {"city", "warm"}


async def test_a_chat_has_choices_logprobs_penalties_and_biases(rig: Rig) -> None:
    async with rig.client() as client:
        answer = await client.chat.completions.create(
            model=LLAMA,
            messages=[{"role": "developer", "content": "Be brief."}, *HELLO],
            n=2,
            seed=1,
            logprobs=True,
            top_logprobs=3,
            stop=["\n\n"],
            presence_penalty=0.5,
            frequency_penalty=0.5,
            logit_bias={"2": -100},
            max_completion_tokens=5,
        )
    assert [choice.index for choice in answer.choices] == [0, 1]
    for choice in answer.choices:
        assert choice.logprobs is not None
        tokens = choice.logprobs.content or []
        assert tokens
        assert all(len(token.top_logprobs) == 3 for token in tokens)


async def test_a_message_whole_streamed_and_counted(rig: Rig) -> None:
    async with anthropics(rig) as client:
        asked: Any = {"model": LLAMA, "max_tokens": 8, "messages": HELLO, "system": "Be brief."}
        asked["extra_body"] = {"temperature": 0}
        whole = await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            streamed = await stream.get_final_message()
        counted = await client.messages.count_tokens(model=LLAMA, messages=HELLO, system="Be brief.")
    assert [block.text for block in whole.content] == [block.text for block in streamed.content]  # type: ignore[union-attr]
    assert whole.stop_reason == streamed.stop_reason
    assert whole.usage.output_tokens == streamed.usage.output_tokens > 0
    for usage in (whole.usage, streamed.usage):
        assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == counted.input_tokens


async def test_a_message_follows_its_schema(rig: Rig) -> None:
    form: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    async with anthropics(rig) as client:
        message = await client.messages.create(model=LLAMA, max_tokens=60, messages=HELLO, output_config=form)
    assert set(json.loads(message.content[0].text)) == {"city", "warm"}  # type: ignore[union-attr]


async def test_a_response_whole_streamed_and_by_schema(rig: Rig) -> None:
    form: Any = {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
    asked: Any = {"model": LLAMA, "input": "Where is it warmer?", "temperature": 0}
    async with rig.client() as client:
        whole = await client.responses.create(max_output_tokens=8, top_logprobs=2, **asked)
        stream = await client.responses.create(max_output_tokens=8, stream=True, **asked)
        *_, last = [event async for event in stream]
        told = await client.responses.create(text=form, max_output_tokens=60, **asked)
    assert last.type == ("response.completed" if whole.status == "completed" else "response.incomplete")
    assert last.response.output_text == whole.output_text
    assert set(json.loads(told.output_text)) == {"city", "warm"}
    (item,) = whole.output
    assert item.content[0].logprobs  # type: ignore[union-attr]


class Place(BaseModel):
    """What the clients' own helpers for typed answers are given."""

    city: Literal["Paris", "Pune"]
    warm: bool


async def test_the_clients_typed_answers_work(rig: Rig) -> None:
    async with rig.client() as client, anthropics(rig) as other:
        chat = await client.chat.completions.parse(model=LLAMA, messages=HELLO, response_format=Place, max_tokens=60)
        response = await client.responses.parse(
            model=LLAMA, input="Where is it warmer?", text_format=Place, max_output_tokens=60
        )
        message = await other.messages.parse(model=LLAMA, max_tokens=60, messages=HELLO, output_format=Place)
    for told in (chat.choices[0].message.parsed, response.output_parsed, message.parsed_output):
        assert isinstance(told, Place)


async def test_what_the_engine_cannot_do_is_refused_with_a_remedy(rig: Rig) -> None:
    picture: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    async with rig.client() as client:
        with pytest.raises(openai.BadRequestError, match="response_format") as caught:
            await client.chat.completions.create(model=LLAMA, messages=HELLO, tools=[TOOL])
        assert caught.value.param == "tools"
        with pytest.raises(openai.BadRequestError, match="image_url") as caught:
            await client.chat.completions.create(model=LLAMA, messages=[{"role": "user", "content": [picture]}])
        assert caught.value.param == "messages"
    async with anthropics(rig) as other:
        with pytest.raises(anthropic.BadRequestError, match="tools"):
            await other.messages.create(
                model=LLAMA, max_tokens=9, messages=HELLO, tools=[{"name": "a", "input_schema": {"type": "object"}}]
            )
