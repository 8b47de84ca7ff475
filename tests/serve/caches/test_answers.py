"""Answers there and back: the chunks of a whole answer make that answer, however they are cut."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serve.caches.answers import assembled, chunks, is_good
from charkha.serve.recording import Outcome
from charkha.serve.streaming import Relay

Json = dict[str, Any]
HEAD = {"id": "theirs", "object": "chat.completion", "created": 1, "model": "tiny"}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@st.composite
def calls(draw: st.DrawFn) -> Json:
    name, arguments = draw(texts), draw(st.text(st.characters(codec="utf-8"), max_size=12))
    return {"id": draw(texts), "type": "function", "function": {"name": name, "arguments": arguments}}


@st.composite
def messages(draw: st.DrawFn) -> Json:
    called = draw(st.lists(calls(), max_size=2))
    said: Json = {"role": "assistant", "content": draw(texts)}
    if called:
        said |= {"content": draw(texts | st.none()), "tool_calls": called}
    if draw(st.booleans()):
        said["reasoning_content"] = draw(texts)
    return said


@st.composite
def chats(draw: st.DrawFn) -> Json:
    told = []
    for index in range(draw(st.integers(1, 3))):
        message = draw(messages())
        reason = "tool_calls" if "tool_calls" in message else "stop"
        choice = {"index": index, "message": message, "finish_reason": reason}
        if draw(st.booleans()):
            choice["logprobs"] = {"content": [{"token": draw(texts), "logprob": -0.5, "top_logprobs": []}]}
        told.append(choice)
    return {**HEAD, "choices": told} | ({"usage": USAGE} if draw(st.booleans()) else {})


completions = st.builds(
    lambda said: {
        **HEAD,
        "object": "text_completion",
        "choices": [{"index": at, "text": text, "finish_reason": "stop"} for at, text in enumerate(said)],
        "usage": USAGE,
    },
    st.lists(texts, min_size=1, max_size=3),
)


def cut(payload: bytes) -> list[bytes]:
    """A chunk as several: each text and each call's arguments a character at a time, as engines send them."""
    chunk = msgspec.json.decode(payload)
    choice = chunk["choices"][0] if chunk["choices"] else None
    delta = choice and choice.get("delta")
    if not delta or choice.get("logprobs"):
        return [payload]
    pieces: list[Json] = [{"role": delta.pop("role", "assistant")}]
    for number, call in enumerate(delta.pop("tool_calls", [])):
        arguments = call["function"]["arguments"]
        pieces.append({"tool_calls": [{**call, "function": {**call["function"], "arguments": ""}}]})
        pieces += [{"tool_calls": [{"index": number, "function": {"arguments": letter}}]} for letter in arguments]
    pieces += [{name: letter} for name, text in delta.items() for letter in text]
    return [msgspec.json.encode({**chunk, "choices": [{**choice, "delta": piece}]}) for piece in pieces]


@given(chats() | completions)
def test_the_chunks_of_an_answer_make_that_answer(answer: Json) -> None:
    told = chunks(msgspec.json.encode(answer))
    assert told[-1] == b"[DONE]"
    made = assembled(told[:-1])
    assert made is not None
    assert msgspec.json.decode(made) == answer
    assert is_good(made)
    pieces = [piece for payload in told[:-1] for piece in cut(payload)]
    assert msgspec.json.decode(assembled(pieces) or b"") == answer


@given(chats())
def test_a_replayed_stream_is_read_as_any_other(answer: Json) -> None:
    outcome = Outcome()
    relay = Relay("chatcmpl-ours", "support", outcome, wants_usage=True, keeps_content=True)
    out = b"".join(map(relay.chunk, chunks(msgspec.json.encode(answer))))
    assert relay.done
    events = [msgspec.json.decode(line[6:]) for line in out.split(b"\n\n") if line]
    assert {(event["id"], event["model"], event["object"]) for event in events} == {
        ("chatcmpl-ours", "support", "chat.completion.chunk")
    }
    assert outcome.answer == (answer["choices"][0]["message"]["content"] or "")
    assert [event["usage"] for event in events if event.get("usage")] == ([USAGE] if "usage" in answer else [])


@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({"finish_reason": "stop"}, True),
        ({"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": [{"id": "a"}]}}, True),
        ({"finish_reason": "length"}, False),
        ({"finish_reason": "content_filter"}, False),
        ({"finish_reason": None}, False),
        ({"message": {"content": ""}}, False),
        ({"message": {"content": None}}, False),
    ],
)
def test_only_whole_answers_that_say_something_are_good(changed: Json, good: bool) -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": "hi"}, **changed}
    assert is_good(msgspec.json.encode({**HEAD, "choices": [choice]})) is good
    assert not is_good(msgspec.json.encode({**HEAD, "choices": [choice, {**choice, "finish_reason": "length"}]}))


def test_what_is_no_answer_is_not_good() -> None:
    for body in (b"[]", b"{}", b'{"choices": []}', b'{"data": []}', b'{"error": {"message": "no"}, "data": [1]}'):
        assert not is_good(body)
    assert is_good(b'{"data": [{"embedding": [0.5]}]}')


@pytest.mark.parametrize("delta", [{"audio": {"id": "a"}}, {"content": ["not", "text"]}, {"tool_calls": "none"}])
def test_a_stream_that_cannot_be_put_together_is_left_alone(delta: Json) -> None:
    said = {"index": 0, "delta": {"content": "hi"}, "finish_reason": None}
    strange = {"index": 0, "delta": delta, "finish_reason": "stop"}
    assert assembled([msgspec.json.encode({**HEAD, "choices": [each]}) for each in (said, strange)]) is None
    assert assembled([]) is None
