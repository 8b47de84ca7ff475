"""The wire format: what passes, what is refused, and that hostile JSON is never more than refused."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charkha.core.errors import Invalid, Unavailable
from charkha.core.records import Operation
from charkha.serve.dialects import openai

operations = st.sampled_from(["chat", "completion", "embedding"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["model", "messages", "prompt", "input", "stream", "stop", "n", "user", "tools", "logit_bias", "stream_options"]
)
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}, "strict": True}}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}


def refusal(call: Callable[..., object], *arguments: object) -> Invalid | None:
    """How a call is refused; None if it is not."""
    try:
        call(*arguments)
    except Invalid as error:
        return error
    return None


@given(st.dictionaries(fields | st.text(max_size=9), values, max_size=5), operations)
@example({"model": "m", "messages": [{"role": {}, "content": ""}]}, "chat")
@example({"": None, "model": "m", "prompt": ""}, "completion")
@example({"model": "m", "input": [[]]}, "embedding")
@example({"model": "m", "prompt": [True]}, "completion")
def test_anything_is_admitted_or_refused_by_name(request: dict[str, Any], operation: Operation) -> None:
    refused = refusal(openai.check, request, operation)
    if refused is not None:
        assert refused.param is not None
        assert msgspec.json.encode(openai.error_body(refused))
    else:
        body = openai.upstream_body(request, operation, model="base", system_prompt="Be brief.", parameters={"n": 2})
        assert body["model"] == "base"
        assert msgspec.json.decode(msgspec.json.encode(body)) == body
        assert "user" not in body
        assert openai.wants_usage(request) in (True, False)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    refused = refusal(openai.parse, body)
    assert refused is None or refused.code == "invalid_json"


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_the_range_of_a_number_is_its_range(temperature: float, top_p: float) -> None:
    good = 0 <= temperature <= 2 and 0 <= top_p <= 1
    request = {**CHAT, "temperature": temperature, "top_p": top_p}
    if good:
        openai.check(request, "chat")
    else:
        with pytest.raises(Invalid):
            openai.check(request, "chat")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": True}, "n"),
        ({"n": 1.0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 2**64}, "seed"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"user": "a\0"}, "user"),
        ({"tools": ["x"]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [{"type": "web_search", "web_search": {"name": "x"}}]}, "tools[0]"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": ["function"]}}, "tool_choice"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "response_format.json_schema"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}, "messages[0].content"),
        ({"suffix": "only of completions"}, "suffix"),
        ({"lora": [{"id": 0, "scale": 1.0}]}, "lora"),
        ({"adapters": []}, "adapters"),
        ({"messages": [{"role": "user", "content": [{"text": "no type"}]}]}, "messages[0].content"),
    ],
)
def test_fields_out_of_range_are_named(more: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as caught:
        openai.check({**CHAT, **more}, "chat")
    assert caught.value.param == param


@pytest.mark.parametrize(
    "more",
    [
        {"stop": "a", "logit_bias": {"15": -100}, "tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": True}}},
        {"response_format": {"type": "json_object"}, "logprobs": True, "top_logprobs": 5, "seed": 1},
        {"stream": True, "stream_options": {"include_usage": True}, "user": "u", "store": False, "metadata": {}},
        {
            "messages": [
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "content": [], "tool_call_id": "c"},
            ]
        },
        {"messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": [PICTURE]}]},
        {"messages": [{"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "x", "tool_call_id": "1"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "temperature": None},
    ],
)
def test_what_clients_send_passes(more: dict[str, Any]) -> None:
    openai.check({**CHAT, **more}, "chat")


def test_the_request_outweighs_the_defaults() -> None:
    request = {**CHAT, "temperature": 0.1, "top_p": None, "store": True, "user": "u", "stream": True}
    defaults = {"temperature": 1, "top_p": 0.5, "logprobs": True}
    body = openai.upstream_body(request, "chat", model="base", system_prompt=None, parameters=defaults)
    assert body == {
        "model": "base",
        "messages": CHAT["messages"],
        "temperature": 0.1,
        "top_p": 0.5,
        "logprobs": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("mine", "default"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
def test_a_requests_length_outweighs_the_default_under_its_other_name(mine: str, default: str) -> None:
    defaults = {default: 9, "top_k": 1}
    body = openai.upstream_body({**CHAT, mine: 5}, "chat", model="b", system_prompt=None, parameters=defaults)
    assert body == {**CHAT, "model": "b", mine: 5, "top_k": 1}


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_request_that_brings_a_system_message_keeps_it_alone(role: str) -> None:
    messages = [{"role": role, "content": "mine"}, {"role": "user", "content": "hi"}]
    body = openai.upstream_body(
        {"model": "m", "messages": messages}, "chat", model="b", system_prompt="ours", parameters={}
    )
    assert body["messages"] == messages


def test_an_error_is_openais() -> None:
    body = openai.error_body(Unavailable("Not now.", remedy="Try again.", code="overloaded"))
    assert body == {
        "error": {"message": "Not now. Try again.", "type": "server_error", "param": None, "code": "overloaded"}
    }
