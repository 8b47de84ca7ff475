"""The template language: there and back, one pass, and what is refused."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.serve.prompts.template import Text, parse, source

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
literals = st.text(st.sampled_from('{}"ab \n\\')) | st.text(max_size=20)
values = st.text(max_size=20) | st.sampled_from(["{{ a }}", '{{"{{"}}', "{{", "}}", "{"])


@st.composite
def texts(draw: st.DrawFn) -> Text:
    """Any text with any places in it."""
    places = tuple(draw(st.lists(names, max_size=4)))
    said = tuple(draw(st.lists(literals, min_size=len(places) + 1, max_size=len(places) + 1)))
    return Text(said, places)


@given(texts())
def test_what_is_written_is_read(text: Text) -> None:
    assert parse(source(text), "content") == text


@given(texts(), st.data())
def test_values_stand_in_what_is_rendered_as_they_are(text: Text, data: st.DataObject) -> None:
    chosen = {name: data.draw(values) for name in text.names}
    expected = text.literals[0]
    for name, literal in zip(text.names, text.literals[1:], strict=True):
        expected += chosen[name] + literal
    assert parse(source(text), "content").rendered(chosen) == expected


def test_a_value_is_never_read_as_template() -> None:
    text = parse("Answer {{ user }} about {{topic}}.", "content")
    said = text.rendered({"user": "{{ topic }} {{secret}}", "topic": '{{"{{"}}{{ user }}'})
    assert said == 'Answer {{ topic }} {{secret}} about {{"{{"}}{{ user }}.'


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"a": {"b": "{{ v }}"}}', '{"a": {"b": "X"}}'),
        ("{{{ v }}}", "{X}"),
        ("{{{{v}}", "{{X"),
        (r"\textbf{{{ v }}} \{", r"\textbf{X} \{"),
        ('{{"{{"}} v }} {{ "{{" }}v', "{{ v }} {{v"),
        ("}} { } {}", "}} { } {}"),
        ("", ""),
    ],
)
def test_single_braces_are_text_and_double_ones_can_be_written(written: str, said: str) -> None:
    assert parse(written, "content").rendered({"v": "X"}) == said


@pytest.mark.parametrize(
    "wrong",
    [
        "{{",
        "{{}}",
        "{{ a.b }}",
        "{{ a[0] }}",
        "{{#if a}}",
        "{{ 1a }}",
        "{{a b}}",
        "{{ a\n}}",
        "{{{",
        "{{ a }",
        "{{%s}}",
    ],
)
def test_what_is_no_variable_is_refused_with_its_line(wrong: str) -> None:
    with pytest.raises(Invalid, match="Line 2") as refused:
        parse(f"first\n{wrong}", "messages[0].content")
    assert (refused.value.code, refused.value.param) == ("invalid_template", "messages[0].content")


def test_a_name_of_more_than_64_characters_is_none() -> None:
    assert parse("{{ " + "a" * 64 + " }}", "content").names == ("a" * 64,)
    with pytest.raises(Invalid):
        parse("{{ " + "a" * 65 + " }}", "content")


@pytest.mark.parametrize("unit", ["{", '{{"{{"}}', "{{ a }}", "{{" + " " * 50 + "a }}"])
def test_reading_takes_time_in_proportion_to_length(unit: str) -> None:
    long = (unit * (250_000 // len(unit)))[:250_000]
    began = time.process_time()
    try:
        parse(long, "content")
    except Invalid:
        assert unit != "{{ a }}" or not long.endswith("}}")
    assert time.process_time() - began < 2  # a quadratic reader takes minutes
