"""Pictures: any numbers make a well-formed SVG within its bounds, which says in words what it shows."""

import math
import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from charkha.console import charts

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
RATE = st.floats(-1, 1)
LABEL = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=60)


def _drawn(picture: Markup, label: str) -> ET.Element:
    svg = ET.fromstring(str(picture))
    assert (svg.tag, svg.get("role")) == ("svg", "img")
    assert svg.get("aria-label", "").split() == label.split()
    assert "nan" not in str(picture).replace(label, "")
    assert not [name for element in svg.iter() for name in element.attrib if name == "style" or name.startswith("on")]
    return svg


@given(st.lists(st.one_of(st.none(), FINITE), max_size=60), LABEL)
def test_a_sparkline_goes_through_its_values_and_leaves_gaps(values: list[float | None], label: str) -> None:
    picture = charts.sparkline(values, label)
    known = [value for value in values if value is not None]
    if len(known) < 2:
        assert picture == '<span class="muted">–</span>'
        return
    path = _drawn(picture, label).find("path")
    assert path is not None
    spots = re.findall(r"([ML])([-\d.]+),([-\d.]+)", path.get("d", ""))
    assert len(spots) == len(known)
    assert all(0 <= float(x) <= 120 and 0 <= float(y) <= 28 for _, x, y in spots)
    pieces = sum(now is not None and (i == 0 or values[i - 1] is None) for i, now in enumerate(values))
    assert sum(command == "M" for command, _, _ in spots) == pieces


@given(st.lists(st.floats(0, 1e12), max_size=40), LABEL)
def test_bars_stand_on_the_ground(values: list[float], label: str) -> None:
    picture = charts.bars(values, label)
    if not values:
        assert picture == '<span class="muted">–</span>'
        return
    columns = _drawn(picture, label).findall("rect")
    assert len(columns) == len(values)
    for column in columns:
        bottom = float(column.get("y", "nan")) + float(column.get("height", "nan"))
        assert math.isclose(bottom, 48, abs_tol=0.2)


@given(st.lists(RATE, min_size=3, max_size=3).map(sorted), LABEL, st.booleans())
def test_an_interval_lies_on_its_scale_and_takes_sides_only_beyond_zero(
    found: list[float], label: str, zero: bool
) -> None:
    low, value, high = found
    svg = _drawn(charts.interval(low, value, high, bounds=(-1, 1), label=label, zero=zero), label)
    dot = svg.find("circle")
    assert dot is not None
    assert 4 <= float(dot.get("cx", "nan")) <= 216
    side = (dot.get("class") or "").split()[-1]
    assert side == ("better" if low > 0 else "worse" if high < 0 else "unsure")
    assert bool([line for line in svg.findall("line") if line.get("class") == "zero"]) == zero


@given(FINITE, FINITE, FINITE)
def test_an_interval_beyond_its_scale_ends_at_its_edge(low: float, value: float, high: float) -> None:
    svg = _drawn(charts.interval(low, value, high, bounds=(0, 0), label="x"), "x")
    spots = [
        float(element.get(name, "4")) for element in svg.iter() for name in ("x1", "x2", "cx") if element.get(name)
    ]
    assert all(4 <= spot <= 216 for spot in spots)


@given(st.lists(st.tuples(LABEL, st.floats(0, 100)), max_size=10), LABEL)
def test_shares_lie_side_by_side(parts: list[tuple[str, float]], label: str) -> None:
    svg = _drawn(charts.shares(parts, label), label)
    drawn = svg.findall("rect")
    assert len(drawn) == len(parts)
    ends = 0.0
    for rect, (name, share) in zip(drawn, parts, strict=True):
        assert math.isclose(float(rect.get("x", "nan")), ends, abs_tol=0.02)
        assert float(rect.get("width", "nan")) >= 0
        ends += share / 100 * 240
        title = rect.find("title")
        assert title is not None
        assert (title.text or "").startswith(name)


@given(st.floats(0, 1), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1)), LABEL)
def test_a_meter_stays_within_its_length(spent: float, held: float, passed: float | None, label: str) -> None:
    svg = _drawn(charts.meter(spent, min(held, 1 - spent), passed, "near", label), label)
    boxes = {each.get("class"): (float(each.get("x", "0")), float(each.get("width", "0"))) for each in svg}
    assert all(x >= 0 and x + width <= 200.01 for x, width in boxes.values())
    assert ("spent" in boxes, "passed" in boxes) == (spent > 0, passed is not None)
