"""Answers on their way through: cut anywhere, they come out the same, but for the ids and the model's name."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serve.recording import Outcome
from charkha.serve.streaming import MAX_EVENT_BYTES, Lines, Relay
from charkha.serve.upstream import EngineFailed


def relay(outcome: Outcome | None = None, *, wants_usage: bool = False) -> Relay:
    return Relay("chatcmpl-ours", "support", outcome or Outcome(), wants_usage=wants_usage, keeps_content=True)


def chunk(text: str, **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return msgspec.json.encode({"choices": [choice], "id": "theirs", "model": "tiny", **more})


@given(
    st.lists(st.text(max_size=12), min_size=1, max_size=8), st.lists(st.integers(0, 2_000), max_size=9), st.booleans()
)
def test_the_network_may_cut_a_stream_anywhere(texts: list[str], cuts: list[int], crlf: bool) -> None:
    end = b"\r\n\r\n" if crlf else b"\n\n"
    stream = b": comment" + end + b"".join(b"data: " + chunk(text) + end for text in texts) + b"data: [DONE]" + end
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    lines, outcome = Lines(), Outcome()
    passing = relay(outcome)
    out = b""
    for start, stop in pairwise(edges):
        for payload in lines.feed(stream[start:stop]):
            out += passing.chunk(payload)
    assert passing.done
    assert outcome.answer == "".join(texts)
    events = [msgspec.json.decode(line[6:]) for line in out.split(b"\n\n") if line]
    assert [event["choices"][0]["delta"]["content"] for event in events] == texts
    assert {(event["id"], event["model"]) for event in events} == {("chatcmpl-ours", "support")}


@given(st.text())
def test_nothing_but_the_names_is_changed(text: str) -> None:
    hostile = f'{text}"id":"theirs","model":"tiny"'
    told = relay().whole(chunk(hostile, extra={"id": "theirs too", "model": 7}))
    answer = msgspec.json.decode(told)
    assert answer["choices"][0]["delta"]["content"] == hostile
    assert (answer["id"], answer["model"], answer["extra"]) == (
        "chatcmpl-ours",
        "support",
        {"id": "theirs too", "model": 7},
    )


def test_an_answer_that_called_says_so_in_the_log_however_it_ended() -> None:
    outcome = Outcome()
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    choice = {"index": 0, "message": {"content": None, "tool_calls": [call]}, "finish_reason": "stop"}
    body = msgspec.json.encode({"id": "chatcmpl-ours", "choices": [choice]})
    assert relay(outcome).whole(body) == body
    assert outcome.finish_reason == "tool_calls"


def test_spaces_after_the_colon_are_allowed() -> None:
    told = relay().whole(b'{"id": "theirs", "model": "tiny", "choices": []}')
    assert msgspec.json.decode(told) == {"id": "chatcmpl-ours", "model": "support", "choices": []}


@pytest.mark.parametrize("wanted", [True, False])
def test_usage_is_logged_and_passed_on_only_if_asked(wanted: bool) -> None:
    outcome = Outcome()
    passing = relay(outcome, wants_usage=wanted)
    passed = passing.chunk(b'{"id":"a","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}')
    passed += passing.chunk(b"[DONE]")
    assert bool(passed) is wanted
    assert (outcome.prompt_tokens, outcome.completion_tokens) == (3, 4)


@pytest.mark.parametrize("wanted", [True, False])
def test_usage_that_comes_with_a_choice_has_an_event_of_its_own(wanted: bool) -> None:
    outcome = Outcome()
    passing = relay(outcome, wants_usage=wanted)
    told = passing.chunk(chunk("end", usage={"prompt_tokens": 3, "completion_tokens": 4})) + passing.chunk(b"[DONE]")
    events = [msgspec.json.decode(line[6:]) for line in told.split(b"\n\n") if line]
    assert [(len(event["choices"]), event["usage"]) for event in events] == [
        (1, None),
        *([(0, {"prompt_tokens": 3, "completion_tokens": 4})] if wanted else []),
    ]
    assert {(event["id"], event["model"]) for event in events} == {("chatcmpl-ours", "support")}
    assert outcome.completion_tokens == 4


def test_tool_call_deltas_pass_one_to_one_and_are_the_first_token() -> None:
    outcome = Outcome()
    passing = relay(outcome)
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
    deltas = [
        {"role": "assistant", "content": None},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"id":"theirs"}'}}]},
    ]
    sent = [msgspec.json.encode({"id": "chatcmpl-ours", "choices": [{"delta": delta}]}) for delta in deltas]
    firsts = []
    for payload in sent:
        assert passing.chunk(payload) == b"data: " + payload + b"\n\n"
        firsts.append(outcome.first_token)
    assert firsts[0] is None
    assert firsts[1] is not None


@pytest.mark.parametrize("theirs", [{}, {"id": ""}, {"id": None}, {"id": "theirs"}])
def test_an_answer_has_our_id_whatever_the_engines_is(theirs: dict[str, str | None]) -> None:
    body = msgspec.json.encode({**theirs, "choices": [{"index": 0, "message": {"content": "yes"}}]})
    told = relay().whole(body)
    assert msgspec.json.decode(told) == {**msgspec.json.decode(body), "id": "chatcmpl-ours"}
    assert told.count(b'"id"') == 1


def test_of_several_choices_the_first_is_logged() -> None:
    outcome = Outcome()
    passing = relay(outcome)
    for index, text in ((1, "no"), (0, "yes")):
        passing.chunk(msgspec.json.encode({"choices": [{"index": index, "delta": {"content": text}}]}))
    passing.chunk(b"[DONE]")
    assert outcome.answer == "yes"


@pytest.mark.parametrize("payload", [b"{", b'{"choices":7}', b'{"error":{"message":"boom"}}', b"\xff"])
def test_an_engine_that_talks_nonsense_has_failed(payload: bytes) -> None:
    with pytest.raises(EngineFailed) as caught:
        relay().chunk(payload)
    assert "boom" not in str(caught.value)


def test_an_event_without_an_end_is_not_gathered_for_ever() -> None:
    with pytest.raises(EngineFailed, match="without an end"):
        list(Lines().feed(b"x" * (MAX_EVENT_BYTES + 1)))
