"""How values are written: no text leaves its place or its direction, and no number makes a page fail."""

import math
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from charkha.console import filters
from tests.console.reading import parse

NUMBERS = st.one_of(st.none(), st.integers(-(2**63), 2**64), st.floats(allow_nan=True, allow_infinity=True))
HOSTILE = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from("<>&\"'`=/\\\0\u202e\u2066\u2069\u200b\u061c\ufeff\U000e0041\ud800"),
        st.sampled_from(["<script>", "</bdi>", "-->", "]]>", "{{", "javascript:", "onerror="]).map(
            lambda text: text[0]
        ),
    ),
    max_size=300,
)
WRITERS = ("number", "compact", "percent", "points", "ms", "seconds", "size")


@given(NUMBERS)
def test_no_number_makes_a_page_fail_or_writes_markup(value: float | None) -> None:
    for name in WRITERS:
        written = str(filters.FILTERS[name](value))
        assert written
        assert str(escape(written)) == written
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            assert written == filters.NONE


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("number", 1234567, "1 234 567"),
        ("compact", 950, "950"),
        ("compact", 12_345, "12.3 k"),
        ("compact", 1_234_567, "1.2 M"),
        ("percent", 0.934, "93.4 %"),
        ("points", 0.82, "+82.0 points"),
        ("points", -0.015, "-1.5 points"),
        ("ms", 8.24, "8.2 ms"),
        ("ms", 412.4, "412 ms"),
        ("ms", 999.4, "999 ms"),
        ("ms", 3400, "3.4 s"),
        ("seconds", 125, "2:05 min"),
        ("seconds", 4205, "1:10 h"),
        ("size", 98_000_000, "98.0 MB"),
        ("size", 12, "12 B"),
    ],
)
def test_numbers_are_written_as_people_read_them(name: str, value: float, written: str) -> None:
    assert " ".join(filters.FILTERS[name](value).split()) == written


@given(HOSTILE, st.sampled_from(["foreign", "one_line"]))
def test_no_text_leaves_its_place_or_turns_its_surroundings(text: str, name: str) -> None:
    html = str(filters.FILTERS[name](text))
    assert isinstance(filters.FILTERS[name](text), Markup)
    assert html.startswith('<bdi class="foreign" dir="auto">')
    tags = {node.tag for node in parse(html).walk()} - {"document"}
    assert tags <= {"bdi", "span"}
    outer = parse(html).children
    assert next(node.tag for node in outer if not isinstance(node, str)) == "bdi"
    for node in parse(html).walk():
        assert set(node.attrs) <= {"class", "dir"}
        assert node.attrs.get("class", "foreign") in ("foreign", "invisible", "cut")
    assert not [
        letter for letter in unescape(html) if letter in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200f"
    ]


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="\u061c"), max_size=200))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    shown = parse(str(filters.foreign(text))).find("bdi")
    assert "".join(child for child in shown.children if isinstance(child, str)) == text


def test_what_cannot_be_seen_is_shown_by_its_code() -> None:
    shown = parse(str(filters.foreign("a\u202eb\0c\U000e0041"))).text()
    assert shown == "aU+202EbU+0000cU+E0041"


@given(st.integers(1, 50), st.integers(0, 200))
def test_a_long_text_is_cut_and_says_how_much_is_missing(longest: int, length: int) -> None:
    html = str(filters.foreign("x" * length, longest))
    assert html.count("x") - html.count("more characters") * 0 >= min(length, longest)
    cut = parse(html).find_all("span", class_="cut")
    assert bool(cut) == (length > longest)
    if cut:
        assert f"{length - longest} more characters" in cut[0].text()


def test_a_text_for_a_list_is_one_line_however_long_it_is() -> None:
    shown = parse(str(filters.one_line("first\n\n\tsecond\r\nthird" + " x" * 10**6))).text()
    assert shown.startswith("first second third x")
    assert shown.endswith("…")
    assert len(shown) == 161


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_written_in_utc_for_scripts_and_for_people(at: datetime) -> None:
    element = parse(str(filters.when(at.isoformat()))).find("time")
    assert datetime.fromisoformat(element.attrs["datetime"]) == at
    assert element.text().endswith(f"{at.hour:02d}:{at.minute:02d}:{at.second:02d}")


def test_what_is_not_known_is_a_dash() -> None:
    values: tuple[Any, ...] = (filters.when(None), filters.short(None), filters.short(""))
    assert {str(value) for value in values} == {"–"}
    assert filters.elapsed(None, "2026-01-01T00:00:00Z") is None
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    assert filters.elapsed(begin.isoformat(), (begin + timedelta(seconds=90)).isoformat()) == 90


def test_an_id_is_shortened_to_where_ids_differ() -> None:
    assert filters.short("01a1fd96-7575-71ca-9400-00c0ffee0042") == "ffee0042"
