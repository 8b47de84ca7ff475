"""Requests and answers as hypothesis makes them, in the forms that come back from a translation as they were."""

import json
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
words = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
objects = st.dictionaries(texts, st.integers(-9, 9) | texts | st.lists(texts, max_size=2), max_size=3)


def _optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional=fields)


def _several(part: st.SearchStrategy[Json], text: st.SearchStrategy[Json]) -> st.SearchStrategy[Any]:
    """Content: text, one part that is none, or several parts. (One part of text is the same as text.)"""
    alone = part.filter(lambda made: made["type"] not in ("text", "input_text", "output_text"))
    return texts | alone.map(lambda made: [made]) | st.lists(part | text, min_size=2, max_size=3)


# Anthropic
_text = texts.map(lambda text: {"type": "text", "text": text})
_sources = st.builds(lambda url: {"type": "url", "url": "https://a/" + url}, words) | st.builds(
    lambda data: {"type": "base64", "media_type": "image/png", "data": data}, words
)
_image = _sources.map(lambda source: {"type": "image", "source": source})
_use = st.builds(lambda i, n, x: {"type": "tool_use", "id": i, "name": n, "input": x}, words, words, objects)
_user = _several(_text | _image, _text).map(lambda content: {"role": "user", "content": content})
_result = st.builds(
    lambda i, c: {"type": "tool_result", "tool_use_id": i, "content": c},
    words,
    _several(_text | _image, _text).filter(bool),
)
_results = st.lists(_result, min_size=1, max_size=2).map(lambda blocks: {"role": "user", "content": blocks})
_assistant = st.builds(
    lambda said, uses: {"role": "assistant", "content": [*said, *uses]},
    st.lists(_text, max_size=1) | st.lists(_text, min_size=2, max_size=3),
    st.lists(_use, min_size=1, max_size=2),
) | texts.map(lambda text: {"role": "assistant", "content": text})


@st.composite
def _conversations(draw: st.DrawFn) -> list[Json]:
    """Turns in which what follows a tool's result is the assistant's, as it is wherever tools are used."""
    turns = [draw(_user)]
    for _ in range(draw(st.integers(0, 3))):
        turns.append(draw(_assistant))
        calls = isinstance(turns[-1]["content"], list)
        turns.append(draw(_results if calls else _user))
    return turns


def anthropic_requests() -> st.SearchStrategy[Json]:
    """Fields of a request for a message."""
    tool = st.builds(
        lambda name, schema, more: {"name": name, "input_schema": schema, **more},
        words,
        objects,
        _optional(description=texts, strict=st.booleans()),
    )
    parallel = _optional(disable_parallel_tool_use=st.booleans())
    choices = st.sampled_from([{"type": "auto"}, {"type": "any"}, {"type": "none"}]) | words.map(
        lambda name: {"type": "tool", "name": name}
    )
    schema = objects.map(lambda schema: {"format": {"type": "json_schema", "schema": schema}})
    return _optional(
        messages=_conversations(),
        system=texts.filter(bool) | st.lists(_text, min_size=2, max_size=3),
        tools=st.lists(tool, min_size=1, max_size=3),
        tool_choice=st.builds(lambda choice, more: {**choice, **more}, choices, parallel),
        stop_sequences=st.lists(texts.filter(bool), min_size=1, max_size=4),
        temperature=st.floats(0, 1),
        top_p=st.floats(0, 1),
        top_k=st.integers(0, 99),
        stream=st.booleans(),
        metadata=words.map(lambda name: {"user_id": name}),
        output_config=schema,
    )


# Responses
_input_text = texts.map(lambda text: {"type": "input_text", "text": text})
_input_image = words.map(lambda name: {"type": "input_image", "image_url": "https://a/" + name})
_output_text = texts.map(lambda text: {"type": "output_text", "text": text})
_refusal = texts.map(lambda text: {"type": "refusal", "refusal": text})
_asked = st.builds(
    lambda role, content: {"type": "message", "role": role, "content": content},
    st.sampled_from(["user", "developer"]),
    _several(_input_text | _input_image, _input_text),
)
_said = _several(_output_text | _refusal, _output_text).map(
    lambda content: {"type": "message", "role": "assistant", "content": content}
)
_call = st.builds(
    lambda i, n, a: {"type": "function_call", "call_id": i, "name": n, "arguments": a}, words, words, texts
)
_output = st.builds(
    lambda i, o: {"type": "function_call_output", "call_id": i, "output": o},
    words,
    _several(_input_text | _input_image, _input_text),
)


def responses_requests() -> st.SearchStrategy[Json]:
    """Fields of a request for a response."""
    tool = st.builds(
        lambda name, more: {"type": "function", "name": name, **more},
        words,
        _optional(description=texts, parameters=objects, strict=st.booleans()),
    )
    schema = st.builds(
        lambda name, schema, more: {"type": "json_schema", "name": name, "schema": schema, **more},
        words,
        objects,
        _optional(strict=st.booleans(), description=texts),
    )
    choices = st.sampled_from(["auto", "none", "required"]) | words.map(lambda n: {"type": "function", "name": n})
    return _optional(
        input=st.lists(_asked | _said | _call | _output, min_size=1, max_size=6) | texts.filter(bool),
        instructions=texts.filter(bool),
        tools=st.lists(tool, min_size=1, max_size=3),
        tool_choice=choices,
        parallel_tool_calls=st.booleans(),
        max_output_tokens=st.integers(1, 999),
        temperature=st.floats(0, 2),
        top_p=st.floats(0, 1),
        top_logprobs=st.integers(1, 20),
        stream=st.booleans(),
        user=words,
        reasoning=st.sampled_from(["low", "high"]).map(lambda effort: {"effort": effort}),
        text=(schema | st.just({"type": "json_object"})).map(lambda form: {"format": form}),
    )


# Answers in the internal form
_arguments = objects.map(json.dumps)


@st.composite
def answers(draw: st.DrawFn) -> Json:
    """A whole chat answer: text, calls, or both."""
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": draw(words), "arguments": draw(_arguments)}}
        for n in range(draw(st.integers(0, 2)))
    ]
    text = draw(texts.filter(bool) | st.none())
    read, cached = draw(st.integers(0, 99)), draw(st.integers(0, 99))
    usage = {
        "prompt_tokens": read,
        "completion_tokens": draw(st.integers(0, 99)),
        "prompt_tokens_details": {"cached_tokens": min(read, cached)},
    }
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    message = {"role": "assistant", "content": text, "tool_calls": calls}
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": usage}


def in_chunks(answer: Json) -> list[Json]:
    """The same answer as an engine streams it: pieces of two characters, the usage at the end."""
    choice = answer["choices"][0]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _cut(choice["message"]["content"] or "")]
    for index, call in enumerate(choice["message"]["tool_calls"]):
        head = {"index": index, "id": call["id"], "type": "function"}
        deltas.append({"tool_calls": [{**head, "function": {"name": call["function"]["name"], "arguments": ""}}]})
        for piece in _cut(call["function"]["arguments"]):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    chunks: list[Json] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    return [*chunks, {"choices": [], "usage": answer["usage"]}]


def _cut(text: str) -> list[str]:
    return [text[start : start + 2] for start in range(0, len(text), 2)]
