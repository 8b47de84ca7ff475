"""What people type, as values: and what is refused before the API is asked."""

import pytest

from charkha.console import forms
from charkha.core.errors import Invalid


def test_what_was_not_typed_is_none() -> None:
    form = {"blank": "  ", "lines": "\n \n"}
    for name in ("blank", "absent"):
        assert forms.text(form, name) is None
        assert forms.number(form, name, "It") is None
        assert forms.whole(form, name, "It") is None
        assert forms.json_object(form, name, "It") == {}
    assert forms.lines(form, "lines") is None
    assert not forms.checked(form, "absent")
    assert forms.checked({"box": ""}, "box")


def test_lines_and_texts_lose_their_outer_space() -> None:
    assert forms.lines({"x": " a \r\n\r\nb c\n"}, "x") == ["a", "b c"]
    assert forms.text({"x": " a b "}, "x") == "a b"


@pytest.mark.parametrize(("typed", "value"), [("3", 3.0), ("-0,5", -0.5), ("1e-3", 0.001)])
def test_numbers_are_read_as_people_write_them(typed: str, value: float) -> None:
    assert forms.number({"x": typed}, "x", "Weight") == value


@pytest.mark.parametrize("typed", ["many", "nan", "inf", "1e400", "0x10", "1 2"])
def test_what_is_no_number_is_refused_by_its_label(typed: str) -> None:
    with pytest.raises(Invalid, match=r"Weight: '.*' is no number") as refused:
        forms.number({"x": typed}, "x", "Weight")
    assert refused.value.remedy


def test_a_part_of_a_share_is_refused() -> None:
    assert forms.whole({"x": "10.0"}, "x", "Share") == 10
    with pytest.raises(Invalid, match=r"Share: 1\.5 is no whole number"):
        forms.whole({"x": "1.5"}, "x", "Share")


def test_an_object_is_read_whatever_it_holds() -> None:
    typed = '{"a": [1, {"b": null}], "large": 123456789012345678901234567890}'
    assert forms.json_object({"x": typed}, "x", "It") == {
        "a": [1, {"b": None}],
        "large": 123456789012345678901234567890,
    }


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ('{"a" 1}', "line 1, column 6"),
        ('{\n"a": 1,\n}', "line 3, column 1"),
        ('{"a": NaN}', "nothing can stand for"),
        ('{"a": 1e999}', "nothing can stand for"),
        ('{"a": "\\ud800"}', "nothing can stand for"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "but no object"),
        ('"a"', "but no object"),
    ],
)
def test_what_is_no_object_is_refused_with_the_place(typed: str, told: str) -> None:
    with pytest.raises(Invalid) as refused:
        forms.json_object({"x": typed}, "x", "Parameters")
    assert told in refused.value.message
    assert refused.value.message.startswith("Parameters: ")
    assert refused.value.remedy
