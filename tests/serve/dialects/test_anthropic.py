"""Anthropic's messages: there and back loses nothing that both sides can say, and hostile requests are only refused."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charkha.core.errors import Invalid, NotFound, Timeout, Unavailable
from charkha.serve.dialects import anthropic, chat
from charkha.serve.dialects.anthropic_answers import MessageTelling

from .backwards import anthropic_request
from .strategies import answers, anthropic_requests, anything, in_chunks

BASE = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
TOOL = {"name": "look", "input_schema": {"type": "object"}}
NAMES = (
    *("model", "max_tokens", "messages", "system", "tools", "tool_choice", "stop_sequences", "metadata", "stream"),
    *("output_config", "temperature", "thinking", "top_p", "cache_control"),
)


def understand(**fields: Any) -> dict[str, Any]:
    return anthropic.understand(json.dumps({**BASE, **fields}).encode(), "chat").request


@settings(deadline=None)
@given(anthropic_requests())
def test_a_request_comes_back_as_it_was(request: dict[str, Any]) -> None:
    assert anthropic_request(understand(**request)) == {**BASE, **request}


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), anything, max_size=6), st.booleans())
@example(
    {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{}]}]}]}, True
)
@example({"tools": [{"type": 7, "name": "a", "input_schema": {}}]}, True)
@example({"tool_choice": {"type": ["auto"]}}, True)
@example({"metadata": {"user_id": 7}}, True)
@example({"output_config": {"format": {"type": "json_schema", "schema": 7}}}, True)
def test_anything_is_understood_or_refused_by_name(fields: dict[str, Any], based: bool) -> None:
    body = json.dumps({**(BASE if based else {}), **fields}).encode()
    try:
        request, telling = anthropic.understand(body, "chat")
    except Invalid as error:
        refused = error
    else:
        assert telling is not None
        assert msgspec.json.decode(msgspec.json.encode(request)) == request
        return
    assert refused.param is not None
    assert json.loads(anthropic.DIALECT.error(refused))["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"stop_sequences": ["a"] * 5}, "stop_sequences"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            "messages[0].content",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]}]}, "messages[0].content"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"tools": [{"name": "look"}]}, "tools[0]"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "yaml"}}}, "output_config.format"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as caught:
        understand(**fields)
    assert caught.value.param == param


def test_thoughts_caches_and_books_are_left_behind() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}
    said = {"type": "text", "text": "yes", "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "user", "content": [said]}, {"role": "assistant", "content": [thought, said]}]
    request = understand(messages=messages, service_tier="auto", thinking={"type": "enabled", "budget_tokens": 1024})
    assert request == {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "yes"}, {"role": "assistant", "content": "yes"}],
    }


def test_results_are_turns_and_what_is_said_besides_another() -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": "12", "is_error": True}
    blocks = [result, {**result, "tool_use_id": "b", "content": [{"type": "text", "text": "31"}]}]
    request = understand(messages=[{"role": "user", "content": [*blocks, {"type": "text", "text": "well?"}]}])
    assert request["messages"] == [
        {"role": "tool", "tool_call_id": "a", "content": "12"},
        {"role": "tool", "tool_call_id": "b", "content": "31"},
        {"role": "user", "content": "well?"},
    ]


def test_a_count_needs_no_length() -> None:
    body = json.dumps({"model": "m", "messages": BASE["messages"], "system": "Be brief.", "tools": [TOOL]}).encode()
    assert [turn["role"] for turn in anthropic.countable(body)["messages"]] == ["system", "user"]
    with pytest.raises(Invalid):
        anthropic.countable(json.dumps({**BASE, "stream": True}).encode())


@settings(deadline=None)
@given(answers())
def test_streamed_or_whole_a_message_is_the_same(answer: dict[str, Any]) -> None:
    whole = json.loads(MessageTelling("i", "m").whole(msgspec.convert(answer, chat.Answer)))
    telling = MessageTelling("i", "m")
    stream = (
        b"".join(telling.chunk(msgspec.convert(each, chat.Answer)) for each in in_chunks(answer)) + telling.ending()
    )
    assert assembled(stream) == whole
    message = answer["choices"][0]["message"]
    assert "".join(each["text"] for each in whole["content"] if each["type"] == "text") == (message["content"] or "")
    uses = [each for each in whole["content"] if each["type"] == "tool_use"]
    assert [(use["id"], use["name"], use["input"]) for use in uses] == [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message["tool_calls"]
    ]
    usage = whole["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == answer["usage"]["prompt_tokens"]
    assert usage["output_tokens"] == answer["usage"]["completion_tokens"]


def assembled(stream: bytes) -> dict[str, Any]:
    """The message that events build, by the rules that clients go by; checks that they come in order."""
    message: dict[str, Any] = {}
    opened: int | None = None
    pieces = ""
    for kind, told in events(stream):
        assert kind == told["type"]
        if kind == "message_start":
            message = told["message"]
        elif kind == "content_block_start":
            assert (opened, told["index"]) == (None, len(message["content"]))
            opened, pieces = told["index"], ""
            message["content"].append(told["content_block"])
        elif kind == "content_block_delta":
            assert told["index"] == opened
            pieces += told["delta"].get("text", "") + told["delta"].get("partial_json", "")
        elif kind == "content_block_stop":
            block, opened = message["content"][told["index"]], None
            block.update({"text": pieces} if block["type"] == "text" else {"input": json.loads(pieces or "{}")})
        elif kind == "message_delta":
            message.update(**told["delta"], usage=told["usage"])
    assert kind == "message_stop"
    return message


def events(stream: bytes) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for each in stream.decode().removesuffix("\n\n").split("\n\n"):
        name, data = each.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_why_an_answer_ended() -> None:
    reasons = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
    for theirs, ours in reasons.items():
        answer = chat.Answer([chat.Choice(message=chat.Said("a"), finish_reason=theirs)])
        assert json.loads(MessageTelling("i", "m").whole(answer))["stop_reason"] == ours
    stopped = chat.Answer([chat.Choice(message=chat.Said("a"), finish_reason="stop", stop_reason="END")])
    told = json.loads(MessageTelling("i", "m").whole(stopped))
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")


def test_a_call_that_was_asked_for_by_name_stops_for_its_result() -> None:
    call = chat.ToolCall(0, "a", chat.Function("look", "{}"))
    answer = chat.Answer([chat.Choice(message=chat.Said(tool_calls=[call]), finish_reason="stop")])
    assert json.loads(MessageTelling("i", "m").whole(answer))["stop_reason"] == "tool_use"
    telling = MessageTelling("i", "m")
    assert assembled(telling.chunk(answer) + telling.ending())["stop_reason"] == "tool_use"


@pytest.mark.parametrize("arguments", ["{", "[]", "7"])
def test_arguments_that_are_no_object_make_no_sense(arguments: str) -> None:
    call = chat.ToolCall(0, "a", chat.Function("look", arguments))
    with pytest.raises(ValueError):
        MessageTelling("i", "m").whole(chat.Answer([chat.Choice(message=chat.Said(tool_calls=[call]))]))


def test_calls_that_are_mixed_make_no_sense() -> None:
    telling = MessageTelling("i", "m")
    calls = [chat.ToolCall(number, f"c{number}", chat.Function("look", "{")) for number in (0, 1)]
    telling.chunk(chat.Answer([chat.Choice(delta=chat.Said(tool_calls=calls))]))
    with pytest.raises(ValueError):
        telling.chunk(chat.Answer([chat.Choice(delta=chat.Said(tool_calls=calls[:1]))]))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotFound("No."), "not_found_error"),
        (Unavailable("No."), "overloaded_error"),
        (Timeout("No."), "timeout_error"),
        (Invalid("No."), "invalid_request_error"),
    ],
)
def test_errors_are_anthropics(error: Any, kind: str) -> None:
    told = {"type": "error", "error": {"type": kind, "message": "No."}}
    assert json.loads(anthropic.DIALECT.error(error)) == told
    assert events(anthropic.DIALECT.error_event(error)) == [("error", told)]
