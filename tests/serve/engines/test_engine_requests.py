"""Requests are understood or refused by name, whatever is in them; answers are merged and counted."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.serve.engines.engine_choices import EventSplitter, StreamMerger, total_usage
from charkha.serve.engines.engine_requests import CHAT, COMPLETIONS, EMBEDDINGS, Limits, understand

LIMITS = Limits(context=100, vocabulary=50)
HELLO = {"messages": [{"role": "user", "content": "hello"}]}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = (
    *(
        "messages",
        "prompt",
        "input",
        "model",
        "adapters",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
    ),
    *("n", "stop", "stream", "stream_options", "logprobs", "top_logprobs", "response_format", "logit_bias", "tools"),
    *("tool_choice", "frequency_penalty", "encoding_format", "user"),
)
known = st.sampled_from(NAMES)


@given(st.sampled_from([CHAT, COMPLETIONS, EMBEDDINGS]), st.dictionaries(known | st.text(max_size=5), anything))
def test_any_object_is_understood_or_refused(path: str, fields: dict[str, Any]) -> None:
    try:
        asked = understand(path, json.dumps(fields).encode(), LIMITS)
    except Invalid:
        return
    assert asked.calls
    msgspec.json.encode(asked.calls)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_an_object(body: bytes) -> None:
    with pytest.raises(Invalid):
        understand(CHAT, body, LIMITS)


def ask(path: str = CHAT, **fields: Any) -> Any:
    return understand(path, json.dumps({**(HELLO if path == CHAT else {}), **fields}).encode(), LIMITS)


def test_only_named_fields_reach_the_engine() -> None:
    (call,) = ask(user="someone", metadata={"a": 1}, temperature=0.5).calls
    assert call == {"messages": [{"role": "user", "content": "hello"}], "temperature": 0.5, "max_tokens": 100}


@pytest.mark.parametrize(
    "field", ["id_slot", "lora", "cache_prompt", "grammar", "samplers", "n_probs", "chat_template"]
)
def test_llama_cpps_own_fields_are_refused(field: str) -> None:
    with pytest.raises(Invalid, match=field) as refused:
        ask(**{field: 1})
    assert refused.value.param == field


def test_choices_get_seeds_of_their_own() -> None:
    assert [call["seed"] for call in ask(n=3, seed=2**32 - 2).calls] == [2**32 - 2, 0, 1]


def test_choices_are_bounded() -> None:
    with pytest.raises(Invalid, match="at most 16"):
        ask(COMPLETIONS, prompt=["a"] * 9, n=2)


@pytest.mark.parametrize("prompt", ["", [], [""], [[]], ["a", 1], [50], [[1], [99]], {"a": 1}])
def test_wrong_prompts_name_the_prompt(prompt: Any) -> None:
    with pytest.raises(Invalid) as refused:
        ask(COMPLETIONS, prompt=prompt)
    assert refused.value.param == "prompt"


def test_control_tokens_in_a_message_become_text() -> None:
    (call,) = ask(messages=[{"role": "user", "content": [{"type": "text", "text": "a<|im_end|><|x|b"}]}]).calls
    assert call["messages"][0]["content"] == "a<\u200b|im_end|><|x|b"


@pytest.mark.parametrize(
    "schema",
    [
        {"maxItems": 10**6},
        {"pattern": "a{99999}"},
        {"pattern": "(" * 9 + ")" * 9},
        {"$ref": "http://example.org/x"},
        {"enum": ["x" * 40_000]},
        {"anyOf": [{"const": n} for n in range(2000)]},
    ],
)
def test_schemas_that_cost_too_much_are_refused(schema: dict[str, Any]) -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"items": deep}
    for each in (schema, deep):
        with pytest.raises(Invalid) as refused:
            ask(response_format={"type": "json_schema", "json_schema": {"schema": each}})
        assert refused.value.param == "response_format"


@given(st.lists(st.binary(min_size=1, max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=5), st.integers(1, 7))
def test_events_are_found_however_the_bytes_are_cut(texts: list[bytes], size: int) -> None:
    stream = b"".join(b"data: " + text + b"\n\n" for text in texts) + b"data: [DONE]\n\n"
    splitter, found = EventSplitter(), []
    for start in range(0, len(stream), size):
        found += splitter.feed(stream[start : start + size])
    assert found == [text for text in texts if text != b"[DONE]"]


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=4), st.integers(1, 3))
def test_a_prompt_counts_once_however_many_choices_it_has(prompts: list[tuple[int, int]], each: int) -> None:
    usages = [{"prompt_tokens": p, "completion_tokens": c} for p, c in prompts for _ in range(each)]
    total = total_usage(usages, each)
    assert total["prompt_tokens"] == sum(p for p, _ in prompts)
    assert total["completion_tokens"] == each * sum(c for _, c in prompts)
    assert total["total_tokens"] == total["prompt_tokens"] + total["completion_tokens"]


def test_merged_streams_tell_usage_only_when_each_did() -> None:
    merger = StreamMerger(2, 2, legacy_logprobs=False)
    usage = msgspec.json.encode({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})
    assert merger.event(0, usage) == b""
    assert merger.usage() == b""
    merger.event(1, usage)
    assert msgspec.json.decode(merger.usage()[6:])["usage"]["total_tokens"] == 5
