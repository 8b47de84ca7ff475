"""Which requests a cache may answer, and under which key: what matters differs, what does not is the same."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.serve.caches.policy import CachePolicy, SemanticPolicy, check_policy
from charkha.serve.caches.rules import NOTHING, Wish, key, question, wish
from charkha.serve.targets import Blend, Target

POLICY = CachePolicy(seconds=60)
COLD: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0}
HERE = Target("local", "tiny", endpoint_id=UUID(int=1), variant_id=UUID(int=2), cache=POLICY)

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(
    st.sampled_from(["messages", "temperature", "seed", "tools", "n", "model"]), values, max_size=5
)


def turned(value: Any) -> Any:
    """The same JSON with the keys of its objects the other way round."""
    if isinstance(value, dict):
        return {name: turned(each) for name, each in reversed(value.items())}
    return [turned(each) for each in value] if isinstance(value, list) else value


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are one: true is no 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@given(bodies)
def test_neither_the_order_of_keys_nor_the_way_of_delivery_is_in_the_key(body: dict[str, Any]) -> None:
    first = key("chat", HERE, body)
    assert first == key("chat", HERE, turned(body))
    assert first == key("chat", HERE, {**body, "stream": True, "stream_options": {"include_usage": True}})


@given(bodies, bodies)
def test_bodies_that_differ_have_other_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (key("chat", HERE, one) == key("chat", HERE, other)) is same(one, other)


@given(bodies, st.data())
def test_one_changed_field_is_another_key(body: dict[str, Any], data: st.DataObject) -> None:
    assume(body)
    field = data.draw(st.sampled_from(sorted(body)))
    value = data.draw(values)
    assume(not same(value, body[field]))
    assert key("chat", HERE, body) != key("chat", HERE, {**body, field: value})


@pytest.mark.parametrize(
    "change",
    [
        {"variant_id": UUID(int=9)},
        {"endpoint_id": UUID(int=9)},
        {"engine": "other"},
        {"cache_epoch": 1},
        {"adapters": (Blend("a" * 64, 1.0, None),)},
        {"adapters": (Blend("a" * 64, 0.5, None),)},
    ],
)
def test_another_variant_endpoint_engine_blend_or_epoch_is_another_key(change: dict[str, Any]) -> None:
    there = replace(HERE, **change)
    assert key("chat", HERE, COLD) != key("chat", there, COLD)
    before, after = question("chat", HERE, COLD), question("chat", there, COLD)
    assert before is not None
    assert after is not None
    assert before[0] != after[0]
    assert key("chat", HERE, COLD) != key("completion", HERE, COLD)


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
def test_what_is_asked_last_is_apart_from_what_stands_around_it(one: str, other: str) -> None:
    def ask(text: str, **more: Any) -> tuple[bytes, str]:
        system = {"role": "system", "content": "Be brief."}
        found = question("chat", HERE, {"messages": [system, {"role": "user", "content": text}], **more})
        assert found is not None
        return found

    assert ask(one)[0] == ask(other, stream=True)[0]
    assert (ask(one)[1], ask(other)[1]) == (one, other)
    assert ask(one)[0] != ask(one, temperature=0.1)[0]
    assert ask(one)[0] != question("chat", HERE, {"messages": [{"role": "user", "content": one}]})


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": "hi"}],
        [{"role": "tool", "content": "hi", "tool_call_id": "a"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a"}}]}],
        [{"role": "user", "content": "  "}],
    ],
)
def test_what_is_no_last_question_in_words_has_none(messages: list[dict[str, Any]]) -> None:
    assert question("chat", HERE, {"messages": messages}) is None


def wished(body: dict[str, Any], *, control: str = "", asked: str = "", **more: Any) -> Wish:
    policy = CachePolicy(seconds=60, **more)
    return wish(policy, "chat", body, "live", control=control, asked=asked)


def test_only_what_would_hardly_be_answered_otherwise_is_looked_up() -> None:
    everything = Wish(True, True, 60)
    assert wished(COLD) == wished({**COLD, "temperature": 0.3}) == everything
    assert wished({**COLD, "temperature": 0.31}) == NOTHING
    assert wished({"messages": COLD["messages"]}) == NOTHING, "without a temperature it counts as 1"
    assert wished({"messages": COLD["messages"]}, max_temperature=1) == everything
    tools = {**COLD, "tools": [{"type": "function", "function": {"name": "look"}}]}
    assert wished(tools) == NOTHING
    assert wished(tools, tools=True) == everything
    assert wished({**tools, "temperature": 2}, asked="Always") == everything
    assert wish(POLICY, "embedding", {"input": "a"}, "live", control="", asked="") == everything
    assert wish(POLICY, "chat", COLD, "evaluation", control="", asked="always") == NOTHING


def test_a_request_can_opt_out() -> None:
    assert wished(COLD, control="no-store") == wished(COLD, control="no-cache, No-Store", asked="always") == NOTHING
    assert wished(COLD, control="No-Cache") == wished(COLD, control="no-cache,no-transform") == Wish(False, True, 60)
    assert wished(COLD, control="max-age=5") == Wish(True, True, 5)
    assert wished(COLD, control="max-age=0") == Wish(False, True, 0)
    assert wished(COLD, control="max-age=900") == wished(COLD, control="max-age=soon") == Wish(True, True, 60)


def semantic(threshold: float = 0.9, engine: str = "local", model: str = "tiny") -> CachePolicy:
    return CachePolicy(60, semantic=SemanticPolicy(engine, model, threshold))


@pytest.mark.parametrize(
    ("policy", "param"),
    [
        (CachePolicy(0), "cache.seconds"),
        (CachePolicy(30 * 86_400 + 1), "cache.seconds"),
        (CachePolicy(60, max_temperature=2.1), "cache.max_temperature"),
        (CachePolicy(60, max_temperature=float("nan")), "cache.max_temperature"),
        (semantic(0.49), "cache.semantic.threshold"),
        (semantic(1.01), "cache.semantic.threshold"),
        (semantic(float("nan")), "cache.semantic.threshold"),
        (semantic(engine="elsewhere"), "cache.semantic.engine"),
        (semantic(model=""), "cache.semantic.model"),
        (semantic(model="a\0"), "cache.semantic.model"),
    ],
)
def test_a_policy_has_its_ranges(policy: CachePolicy, param: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_policy(policy, {"local"})
    assert caught.value.param == param
    assert caught.value.remedy
    for sound in (CachePolicy(1), CachePolicy(30 * 86_400, 2, tools=True), semantic(0.5), semantic(1)):
        check_policy(sound, {"local"})
