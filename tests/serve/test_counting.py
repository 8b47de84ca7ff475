"""Estimates of tokens: they take in all that a model would read."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.serve.counting import estimate

texts = st.text(max_size=50)


@settings(deadline=None)
@given(texts, texts.filter(bool))
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    def of(content: Any) -> int:
        return estimate({"messages": [{"role": "user", "content": content}]})

    assert of(text) <= of(text + more)
    assert of([{"type": "text", "text": text}, {"type": "text", "text": more}]) == of(text + more)
    assert of(text + more) <= len((text + more).encode()) + 5


def test_tools_calls_and_pictures_count() -> None:
    plain: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_000}}
    assert estimate({**plain, "tools": [call]}) > estimate(plain) + 10
    assert estimate({"messages": [*plain["messages"], called]}) > estimate(plain) + 10
    assert 1_600 < estimate({"messages": [{"role": "user", "content": [picture]}]}) < 1_700
