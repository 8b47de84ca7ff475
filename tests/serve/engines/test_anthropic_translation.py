"""The way to Anthropic's API and back: what both sides can say comes through whole, the rest is refused by name."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.serve.dialects import anthropic, chat, openai, responses
from charkha.serve.dialects.anthropic_answers import MessageTelling
from charkha.serve.engines.anthropic_answers import StreamedAnswer, WholeAnswer
from charkha.serve.engines.anthropic_requests import countable, message_of
from tests.serve.dialects.strategies import answers, anthropic_requests, anything, in_chunks, responses_requests

Json = dict[str, Any]
HELLO: list[Json] = [{"role": "user", "content": "hello"}]
BASE: Json = {"model": "m", "max_tokens": 9, "messages": HELLO}
TOOL: Json = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def told(**fields: Any) -> Json:
    return message_of({**BASE, **fields}, 77)


def without_empty(chat_request: Json) -> Json:
    """The request as it is after a journey on which what the API refuses, and what says nothing, were left out."""
    if chat_request.get("tool_choice") == "none":
        chat_request = {name: value for name, value in chat_request.items() if name != "parallel_tool_calls"}
    turns = [_lean(turn) for turn in chat_request["messages"]]
    return {**chat_request, "messages": [turn for turn in turns if turn["role"] != "system" or turn["content"]]}


def _lean(turn: Json) -> Json:
    content = turn["content"]
    if isinstance(content, list):
        content = [part for part in content if part.get("text") != ""]
        if len(content) == 1 and content[0]["type"] == "text":
            content = content[0]["text"]
    if turn.get("tool_calls"):
        return {**turn, "content": content or None, "tool_calls": [_normal(call) for call in turn["tool_calls"]]}
    return {**turn, "content": content or ""}


def _normal(call: Json) -> Json:
    arguments = json.loads(call["function"]["arguments"] or "{}")
    return {**call, "function": {**call["function"], "arguments": msgspec.json.encode(arguments).decode()}}


def through(request: Json) -> Json:
    """A chat request, there and back."""
    return without_empty(anthropic.chat_of(message_of(request, 77)))


@settings(deadline=None)
@given(anthropic_requests())
def test_what_an_anthropic_client_says_reaches_anthropic_as_it_was(fields: Json) -> None:
    request = anthropic.chat_of({**BASE, **fields})
    assert through(request) == without_empty(request)


@settings(deadline=None)
@given(responses_requests())
def test_what_others_say_comes_through_or_is_refused(fields: Json) -> None:
    request = responses.understand(json.dumps({"model": "m", "input": "hi", **fields}).encode(), "chat").request
    try:
        message = message_of(request, 77)
    except ValueError:
        return  # by name: see the property below
    again = anthropic.chat_of(message)
    openai.check(again, "chat")
    assert spoken(again) == spoken(request)
    assert again["max_tokens"] == request.get("max_completion_tokens", 77)


def spoken(request: Json) -> list[tuple[str, str]]:
    """Who says what, without what has no words; instructions before the conversation are one."""
    turns = [(turn["role"].replace("developer", "system"), _words(turn["content"])) for turn in request["messages"]]
    first = next(place for place, (role, _) in enumerate(turns) if role != "system")
    opening = ("system", "".join(text for _, text in turns[:first]))
    return [turn for turn in [opening, *turns[first:]] if turn[1]]


def _words(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", part.get("refusal", ""))) for part in content)
    return content or ""


NAMES = [*openai._KNOWN["chat"]]


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(NAMES), anything, max_size=5))
def test_whatever_passes_the_gateways_check_is_translated_or_refused_by_name(fields: Json) -> None:
    request = {**BASE, **fields, "model": "m"}
    try:
        openai.check(request, "chat")
    except Invalid:
        return
    body = openai.upstream_body(request, "chat", model="m", system_prompt=None, parameters={})
    try:
        message, refused = message_of(body, 77), ""
    except ValueError as refusal:
        message, refused = {}, str(refusal)
    if refused:
        assert any(name in refused for name in [*fields, "content part", "system"])
    else:
        assert message["max_tokens"]
        assert msgspec.json.decode(msgspec.json.encode(message)) == message


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"n": 2}, "'n'"),
        ({"seed": 1}, "'seed'"),
        ({"logprobs": True}, "'logprobs'"),
        ({"frequency_penalty": 0.5}, "'frequency_penalty'"),
        ({"logit_bias": {"1": 2}}, "'logit_bias'"),
        ({"temperature": 1.5}, "'temperature'"),
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"reasoning_effort": "none"}, "'reasoning_effort'"),
        ({"messages": [{"role": "system", "content": "Be kind."}]}, "'messages'"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, "input_audio"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}, *HELLO]}, "image_url"),
        ({"messages": [*HELLO, {"role": "function", "name": "f", "content": "1"}]}, "'function'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,a"}}]}]}, "url"),
        ({"tools": [{"type": "custom", "custom": {"name": "sed"}}]}, "'tools'"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "allowed_tools"),
    ],
)
def test_what_anthropic_cannot_do_is_refused_by_name(fields: Json, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        told(**fields)


def test_what_asks_for_nothing_is_left_out() -> None:
    idle = {"n": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False, "logit_bias": {}}
    assert told(**idle, stream_options={"include_usage": True}) == BASE


def test_a_length_is_always_told() -> None:
    assert message_of({"model": "m", "messages": HELLO}, 77)["max_tokens"] == 77
    assert message_of({"model": "m", "messages": HELLO, "max_completion_tokens": 5}, 77)["max_tokens"] == 5


def test_results_of_one_round_stand_in_one_message() -> None:
    calls = [{"id": each, "type": "function", "function": {"name": "look", "arguments": ""}} for each in "ab"]
    results = [{"role": "tool", "tool_call_id": each, "content": f"it is {each}"} for each in "ab"]
    message = told(messages=[*HELLO, {"role": "assistant", "content": None, "tool_calls": calls}, *results, *HELLO])
    assert [turn["role"] for turn in message["messages"]] == ["user", "assistant", "user", "user"]
    assert [block["input"] for block in message["messages"][1]["content"]] == [{}, {}]
    assert [block["tool_use_id"] for block in message["messages"][2]["content"]] == ["a", "b"]


def test_a_system_prompt_is_where_it_was_said() -> None:
    system, later = {"role": "system", "content": "Be kind."}, {"role": "developer", "content": "Now be brief."}
    message = told(messages=[system, {**later}, *HELLO, later])
    assert message["system"] == [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Now be brief."}]
    assert message["messages"] == [*HELLO, {"role": "system", "content": "Now be brief."}]
    assert told(messages=[system, *HELLO])["system"] == "Be kind."


def test_only_the_prompt_is_counted() -> None:
    assert countable({**BASE, "temperature": 1, "stop": "x", "stream": True, "tools": [TOOL]}) == {
        "model": "m",
        "messages": HELLO,
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    }


def test_parallel_calls_can_be_switched_off() -> None:
    assert told(tools=[TOOL], parallel_tool_calls=False)["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    assert told(tools=[TOOL], tool_choice="none", parallel_tool_calls=False)["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in told(parallel_tool_calls=False)


# Answers: chats are told as messages by the dialect that clients use, and translated back.


def whole(body: bytes, status: int = 200) -> Json:
    translator = WholeAnswer(1)
    translator.status(status)
    assert not translator.feed(body)
    return json.loads(translator.end())


def streamed(body: bytes, cut: int = 7, *, tells_usage: bool = True) -> list[bytes]:
    translator = StreamedAnswer(1, tells_usage=tells_usage)
    translator.status(200)
    out = b"".join(translator.feed(body[start : start + cut]) for start in range(0, len(body), cut)) + translator.end()
    return [line.removeprefix(b"data: ") for line in out.split(b"\n\n") if line]


def assembled(chunks: list[Json]) -> tuple[str, list[tuple[str, str, str]], str | None]:
    """Text, calls and reason of a streamed answer, put together as clients do."""
    text, reason, calls = "", None, {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        text += choice["delta"].get("content") or ""
        reason = choice["finish_reason"] or reason
        for piece in choice["delta"].get("tool_calls", []):
            call = calls.setdefault(piece["index"], ["", "", ""])
            call[0] += piece.get("id", "")
            call[1] += piece["function"].get("name", "")
            call[2] += piece["function"]["arguments"]
    return text, [tuple(calls[index]) for index in sorted(calls)], reason


def said(answer: Json) -> tuple[str, list[tuple[str, str, str]], str | None]:
    choice = answer["choices"][0]
    message = choice["message"]
    calls = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]
    return message["content"] or "", calls, choice["finish_reason"]


def alike(
    left: tuple[str, list[tuple[str, str, str]], Any], right: tuple[str, list[tuple[str, str, str]], Any]
) -> bool:
    read = [[(id_, name, json.loads(arguments)) for id_, name, arguments in each[1]] for each in (left, right)]
    return (left[0], read[0], left[2]) == (right[0], read[1], right[2])


@settings(deadline=None)
@given(answers())
def test_an_answer_comes_back_as_it_was(answer: Json) -> None:
    body = MessageTelling("1", "m").whole(msgspec.convert(answer, chat.Answer))
    again = whole(body)
    assert alike(
        said({"choices": [{**again["choices"][0], "message": {"tool_calls": [], **_message(again)}}]}), said(answer)
    )
    assert again["usage"]["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    assert again["usage"]["completion_tokens"] == answer["usage"]["completion_tokens"]
    assert again["usage"]["prompt_tokens_details"] == answer["usage"]["prompt_tokens_details"]
    assert again["usage"]["total_tokens"] == again["usage"]["prompt_tokens"] + again["usage"]["completion_tokens"]


def _message(answer: Json) -> Json:
    return answer["choices"][0]["message"]


@settings(deadline=None)
@given(answers(), st.integers(1, 99), st.booleans())
def test_a_stream_comes_back_as_it_was_wherever_it_is_cut(answer: Json, cut: int, tells_usage: bool) -> None:
    telling = MessageTelling("1", "m")
    pieces = [telling.chunk(msgspec.convert(chunk, chat.Answer)) for chunk in in_chunks(answer)]
    payloads = streamed(b"".join(pieces) + telling.ending(), cut, tells_usage=tells_usage)
    assert payloads[-1] == b"[DONE]"
    chunks = [json.loads(payload) for payload in payloads[:-1]]
    assert alike(assembled(chunks), said(answer))
    assert all(chunk["id"] == "msg_1" and chunk["model"] == "m" for chunk in chunks)
    told = [chunk["usage"] for chunk in chunks if "usage" in chunk]
    assert len(told) == tells_usage
    if told:
        assert chunks[-1]["choices"] == []
        assert told[0]["prompt_tokens"] == answer["usage"]["prompt_tokens"]
        assert told[0]["completion_tokens"] == answer["usage"]["completion_tokens"]
        assert told[0]["prompt_tokens_details"] == answer["usage"]["prompt_tokens_details"]


@settings(deadline=None)
@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()), st.integers(100, 599))
def test_nonsense_is_told_as_an_error(body: bytes, status: int) -> None:
    assert isinstance(whole(body, status)["error"]["message"], str)
    line = b"data: " + body.replace(b"\n", b" ") + b"\n\n"
    for payload in streamed(line):
        told = json.loads(payload) if payload != b"[DONE]" else {"error": None}
        assert "error" in told or "choices" in told


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [(400, "invalid_request_error", 400), (429, "rate_limit_error", 429), (529, "overloaded_error", 503)],
)
def test_errors_are_told_in_openais_form(status: int, kind: str, expected: int) -> None:
    for translator in (WholeAnswer(1), StreamedAnswer(1, tells_usage=True)):
        assert translator.status(status) == expected
        body = {"type": "error", "error": {"type": kind, "message": "Too much."}, "request_id": "req_1"}
        assert not translator.feed(json.dumps(body).encode())
        error = json.loads(translator.end())["error"]
        assert error == {"message": "Too much.", "type": kind, "param": None, "code": kind}


def test_counts_of_a_stream_are_cumulative_and_caches_are_part_of_the_prompt() -> None:
    first = {"input_tokens": 3, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 20, "output_tokens": 1}
    last = {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}
    events = [
        {"type": "message_start", "message": {"id": "a", "model": "m", "usage": first}},
        {"type": "something_new", "delta": {"type": "unheard_of"}},
        {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"}, "usage": last},
        {"type": "message_stop"},
    ]
    payloads = streamed(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))
    chunks = [json.loads(payload) for payload in payloads[:-1]]
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 33,
        "completion_tokens": 9,
        "total_tokens": 42,
        "prompt_tokens_details": {"cached_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    assert (chunks[-2]["choices"][0]["finish_reason"], chunks[-2]["choices"][0]["stop_reason"]) == ("stop", "END")
