"""OpenAI's responses: there and back loses nothing that both sides can say, and hostile requests are only refused."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.core.ids import uuid7
from charkha.serve.dialects import chat, responses
from charkha.serve.dialects.responses_answers import ResponseTelling

from .backwards import responses_request
from .strategies import answers, anything, in_chunks, responses_requests

BASE = {"model": "m", "input": "hi"}
ID = str(uuid7())
NAMES = (
    *("model", "input", "instructions", "tools", "tool_choice", "text", "store", "previous_response_id", "include"),
    *("reasoning", "metadata", "stream", "top_logprobs", "truncation"),
)


def understand(**fields: Any) -> dict[str, Any]:
    return responses.understand(json.dumps({**BASE, **fields}).encode(), "chat").request


def as_items(request: dict[str, Any]) -> dict[str, Any]:
    """The request with a text as input written out as the message that it is short for."""
    if isinstance(request["input"], str):
        return {**request, "input": [{"type": "message", "role": "user", "content": request["input"]}]}
    return request


@settings(deadline=None)
@given(responses_requests())
def test_a_request_comes_back_as_it_was(request: dict[str, Any]) -> None:
    assert responses_request(understand(**request)) == as_items({**BASE, **request})


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), anything, max_size=6), st.booleans())
@example({"input": [{"type": ["message"]}]}, True)
@example({"input": [{"role": "user", "content": [{"type": "input_text", "text": 7}]}]}, True)
@example({"input": [{"type": "function_call_output", "call_id": "a", "output": 7}]}, True)
@example({"text": {"format": 7}}, True)
@example({"reasoning": {"effort": 7}}, True)
@example({"tool_choice": {"type": ["function"]}}, True)
def test_anything_is_understood_or_refused_by_name(fields: dict[str, Any], based: bool) -> None:
    body = json.dumps({**(BASE if based else {}), **fields}).encode()
    try:
        request, telling = responses.understand(body, "chat")
    except Invalid as error:
        refused = error
    else:
        assert telling is not None
        assert msgspec.json.decode(msgspec.json.encode(request)) == request
        assert json.loads(telling(ID, "m").whole(chat.Answer()))["status"] == "completed"
        return
    assert refused.param is not None
    assert json.loads(responses.DIALECT.error(refused))["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": 1}}, "prompt.id"),
        ({"prompt": {"name": "greeting"}}, "prompt.name"),
        ({"prompt": {"variables": {"name": {"type": "input_image"}}}}, "prompt.variables.name"),
        ({"variables": ["Ada"]}, "variables"),
        ({"truncation": "auto"}, "truncation"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "a"}]}]}, "input[0].content"),
        ({"input": [{"type": "function_call", "name": "a"}]}, "input[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as caught:
        understand(**fields)
    assert caught.value.param == param


def test_a_call_belongs_to_what_was_said_before_it_and_thoughts_are_left_out() -> None:
    call = {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"}
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]}
    request = understand(
        input=[{"type": "reasoning", "id": "rs_1", "summary": []}, said, call, {**call, "call_id": "b"}]
    )
    (turn,) = request["messages"]
    assert (turn["content"], [each["id"] for each in turn["tool_calls"]]) == ("I look.", ["a", "b"])


def test_logprobs_are_asked_for_by_include() -> None:
    assert understand(include=["message.output_text.logprobs"])["logprobs"] is True
    assert "logprobs" not in understand(include=["reasoning.encrypted_content"], store=False)


def test_what_asks_for_nothing_is_taken() -> None:
    nothing = {
        "background": False,
        "conversation": None,
        "instructions": "",
        "prompt": None,
        "store": False,
        "tools": [],
    }
    assert understand(**nothing) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@settings(deadline=None)
@given(answers())
def test_streamed_or_whole_a_response_is_the_same(answer: dict[str, Any]) -> None:
    whole = json.loads(ResponseTelling({}, ID, "m").whole(msgspec.convert(answer, chat.Answer)))
    telling = ResponseTelling({}, ID, "m")
    stream = (
        b"".join(telling.chunk(msgspec.convert(each, chat.Answer)) for each in in_chunks(answer)) + telling.ending()
    )
    told = events(stream)
    assert [each["sequence_number"] for each in told] == list(range(len(told)))
    assert told[-1]["response"] == whole
    assert assembled(told) == whole["output"]
    assert whole["usage"]["input_tokens"] == answer["usage"]["prompt_tokens"]
    message = answer["choices"][0]["message"]
    assert "".join(part["text"] for item in whole["output"] for part in item.get("content", [])) == (
        message["content"] or ""
    )
    calls = [item for item in whole["output"] if item["type"] == "function_call"]
    assert [(call["call_id"], call["name"], call["arguments"]) for call in calls] == [
        (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]
    ]


def assembled(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items that events build, by the rules that clients go by; checks that they come in order."""
    items: list[dict[str, Any]] = []
    pieces = ""
    for event in told:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(items)
            items.append(event["item"])
            pieces = ""
        elif kind.endswith(".delta"):
            assert event["item_id"] == items[-1]["id"]
            pieces += event["delta"]
        elif kind in ("response.output_text.done", "response.function_call_arguments.done"):
            assert event.get("text", event.get("arguments")) == pieces
        elif kind == "response.output_item.done":
            items[event["output_index"]] = event["item"]
    return items


def events(stream: bytes) -> list[dict[str, Any]]:
    found = []
    for each in stream.decode().removesuffix("\n\n").split("\n\n"):
        name, data = each.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def test_an_answer_that_was_cut_is_incomplete() -> None:
    answer = chat.Answer([chat.Choice(message=chat.Said("a"), finish_reason="length")])
    told = json.loads(ResponseTelling({"temperature": 0.5}, ID, "m").whole(answer))
    assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (told["output"][0]["status"], told["temperature"], told["id"]) == ("incomplete", 0.5, f"resp_{ID}")


def test_a_refusal_is_a_part_of_its_own() -> None:
    telling = ResponseTelling({}, ID, "m")
    chunk = chat.Answer([chat.Choice(delta=chat.Said(refusal="No."))])
    kinds = [each["type"] for each in events(telling.chunk(chunk) + telling.ending())]
    assert "response.refusal.delta" in kinds
    assert kinds[-1] == "response.completed"


def test_calls_that_are_mixed_or_nameless_make_no_sense() -> None:
    telling = ResponseTelling({}, ID, "m")
    calls = [chat.ToolCall(number, f"c{number}", chat.Function("look", "{")) for number in (0, 1)]
    telling.chunk(chat.Answer([chat.Choice(delta=chat.Said(tool_calls=calls))]))
    for bad in (calls[0], chat.ToolCall(2, "c", chat.Function(None, "{"))):
        with pytest.raises(ValueError):
            telling.chunk(chat.Answer([chat.Choice(delta=chat.Said(tool_calls=[bad]))]))


def test_an_error_in_a_stream_is_an_event() -> None:
    (told,) = events(responses.DIALECT.error_event(Invalid("No.", code="bad")))
    assert told == {"type": "error", "code": "bad", "message": "No.", "param": None}
