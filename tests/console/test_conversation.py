"""What was said, in each of OpenAI's forms: nothing breaks, and what cannot be shown is named."""

from typing import Any

import pytest

from charkha.console import conversation
from charkha.console.conversation import MOST_TURNS, Part, Turn, answered, asked

DOT = "data:image/png;base64,iVBORw0KGgo="


def found(request: Any = None, **more: Any) -> dict[str, Any]:
    answer = {"answer": "yes", "finish_reason": "stop", "kept": True, "status": 200, "operation": "chat", "prompt": []}
    return {"request": request, **answer, **more}


def parts(content: Any, **more: Any) -> tuple[Part, ...]:
    (turn,) = asked(found({"messages": [{"role": "user", "content": content, **more}]})).turns
    return turn.parts


@pytest.mark.parametrize(
    ("request_", "turns"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, [("user", "hi")]),
        ({"prompt": "once upon"}, [("user", "once upon")]),
        ({"prompt": ["one", "two"]}, [("user", "one"), ("user", "two")]),
        ({"input": "embed me"}, [("user", "embed me")]),
        ({"input": [1, 2, 3]}, []),
        ({"messages": ["no message", {"content": "nobody"}]}, [("user", "nobody")]),
        ("no JSON at all", []),
        (None, []),
    ],
)
def test_each_form_of_a_request_is_read(request_: Any, turns: list[tuple[str, str]]) -> None:
    assert [(turn.role, turn.parts[0].text) for turn in asked(found(request_)).turns] == turns


def test_what_the_api_made_of_a_request_is_shown_where_the_request_itself_says_nothing() -> None:
    prompt = [{"role": "user", "content": "hi"}]
    assert asked(found("{broken", prompt=prompt)).turns == (Turn("user", (Part("text", "hi"),)),)


def test_pictures_are_shown_only_where_they_came_with_the_request() -> None:
    def pictured(address: str) -> Part:
        return parts([{"type": "image_url", "image_url": {"url": address}}])[0]

    assert pictured(DOT).source == DOT
    remote = pictured("https://example.org/a.png")
    assert (remote.source, remote.text) == ("", "Picture at https://example.org/a.png, which pages do not load.")
    assert pictured("data:image/svg+xml;base64,PHN2Zz4=").source == ""
    assert pictured(DOT + "A" * conversation.LARGEST_PICTURE).source == ""
    assert parts([{"type": "image_url", "image_url": DOT}, "and text"]) == (
        Part("picture", "Picture that was sent", source=DOT),
        Part("text", "and text"),
    )


def test_calls_of_tools_and_their_results_are_turns() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"word":"x"}'}}
    (called,) = parts(None, tool_calls=[call])
    assert (called.kind, called.name, called.text) == ("call", "look_up", '{\n  "word": "x"\n}')
    (broken,) = parts(None, function_call={"name": "old", "arguments": "{no json"})
    assert (broken.name, broken.text) == ("old", "{no json")
    assert parts(None, tool_calls=["odd", {"function": None}, {}]) == ()
    result = asked(found({"messages": [{"role": "tool", "tool_call_id": "call_1", "content": "42"}]})).turns[0]
    assert (result.role, result.parts) == ("tool call_1", (Part("text", "42"),))


def test_what_is_neither_is_named() -> None:
    sound, refusal = parts([{"type": "input_audio", "input_audio": {}}], refusal="I will not.")
    assert sound.text == "A part of type input_audio, in the request below."
    assert refusal.text == "I will not."
    assert parts([7])[0].kind == "note"
    assert parts({"odd": 1}) == ()


def test_of_a_long_conversation_the_end_is_shown() -> None:
    messages = [{"role": "user", "content": str(number)} for number in range(MOST_TURNS + 5)]
    read = asked(found({"messages": messages}))
    assert (len(read.turns), read.left_out) == (MOST_TURNS, 5)
    assert read.turns[-1].parts[0].text == str(MOST_TURNS + 4)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "yes"),
        (
            {"answer": "", "finish_reason": "tool_calls"},
            "Called tools. The log keeps what is said; calls are not kept.",
        ),
        ({"answer": ""}, "Answered with no text."),
        ({"answer": None, "status": 503}, None),
        ({"answer": "", "operation": "embedding"}, None),
        ({"answer": None, "kept": False}, None),
    ],
)
def test_the_answer_is_told_as_far_as_it_is_kept(more: dict[str, Any], told: str | None) -> None:
    turn = answered(found(**more))
    assert (turn.parts[0].text if turn else None) == told
