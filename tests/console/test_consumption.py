"""Usage as sums and pictures: nothing is lost, no currency is added to another, and what is unknown is no zero."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.console import consumption
from charkha.console.consumption import OTHERS, Span

TODAY = date(2026, 3, 16)
WEEK = Span(TODAY - timedelta(days=6), TODAY)


def row(**changes: Any) -> dict[str, Any]:
    usual = {"day": str(TODAY), "month": None, "model": "a", "actor": "key:x", "engine": "local", "workspace": None}
    sums = {"requests": 1, "prompt_tokens": 2, "completion_tokens": 3, "cost": None, "currency": None}
    return {**usual, **sums, **changes}


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for _ in range(draw(st.integers(0, 30))):
        currency = draw(st.sampled_from([None, "EUR", "USD"]))
        cost = None if currency is None else draw(st.integers(0, 10**9))
        day = str(WEEK.first + timedelta(days=draw(st.integers(0, 6))))
        tokens, model = draw(st.integers(0, 10**6)), draw(st.sampled_from("abcdefgh"))
        found.append(row(day=day, model=model, prompt_tokens=tokens, currency=currency, cost=cost))
    return found


@given(rows())
def test_groups_and_pictures_have_all_that_the_rows_have(found: list[dict[str, Any]]) -> None:
    whole, groups = consumption.total(found), consumption.grouped(found, "model")
    assert sum(each.requests for each in groups.values()) == whole.requests == len(found)
    assert [each.tokens for each in groups.values()] == sorted((each.tokens for each in groups.values()), reverse=True)
    assert whole.unpriced == sum(each["cost"] is None for each in found)
    for currency in ("EUR", "USD"):
        mine = [each["cost"] for each in found if each["currency"] == currency]
        assert whole.costs.get(currency, 0) == sum(mine)
    for column in ("model", None):
        drawn = consumption.pictures(found, WEEK, column, {})
        assert [each.unit for each in drawn] == (["requests", "tokens", *sorted(whole.costs)] if found else [])
        wanted = {"requests": whole.requests, "tokens": whole.tokens, **whole.costs}
        for each in drawn:
            assert [point[0] for series in each.series for point in series["points"]] == [
                int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in WEEK.columns
            ] * len(each.series)
            scale = 10**6 if each.unit in whole.costs else 1
            summed = sum(point[1] for series in each.series for point in series["points"]) * scale
            assert summed == pytest.approx(wanted[each.unit])


def test_the_largest_five_have_a_layer_each_and_the_others_one_together() -> None:
    found = [row(model=name, prompt_tokens=1000 - place) for place, name in enumerate("abcdefg")]
    (requests, _) = consumption.pictures(found, WEEK, "model", {"a": "Anna\u202e"})
    assert [each["label"] for each in requests.series] == ["AnnaU+202E", "b", "c", "d", "e", OTHERS]
    assert requests.series[-1]["points"][-1][1] == 2
    assert requests.told.startswith("Requests by day from 2026-03-10 to 2026-03-16: 7 in all, most in the day of")


def test_long_spans_are_drawn_by_month() -> None:
    over = Span(date(2025, 11, 20), date(2026, 3, 16))
    assert over.unit == "month"
    assert [str(each)[:7] for each in over.columns] == ["2025-11", "2025-12", "2026-01", "2026-02", "2026-03"]
    (requests, _) = consumption.pictures([row(day=None, month="2026-02-01")], over, None, {})
    assert [point[1] for point in requests.series[0]["points"]] == [0, 0, 0, 1, 0]
    assert WEEK.unit == "day"


@pytest.mark.parametrize(
    ("wanted", "since", "until", "first", "last"),
    [
        ("30", None, None, "2026-02-15", "2026-03-16"),
        ("7", None, None, "2026-03-10", "2026-03-16"),
        ("month", None, None, "2026-03-01", "2026-03-16"),
        ("last-month", None, None, "2026-02-01", "2026-02-28"),
        ("365", None, None, "2025-04-01", "2026-03-16"),
        ("nonsense", None, None, "2026-02-15", "2026-03-16"),
        ("7", "2026-01-01", "2026-01-31", "2026-01-01", "2026-01-31"),
        ("last-month", "2026-03-10", None, "2026-03-10", "2026-03-16"),
        ("7", None, "2026-01-31", "2026-01-02", "2026-01-31"),
    ],
)
def test_a_range_is_the_days_that_it_says(
    wanted: str, since: str | None, until: str | None, first: str, last: str
) -> None:
    found = consumption.span(wanted, since, until, TODAY)
    assert found is not None
    assert (str(found.first), str(found.last)) == (first, last)


@pytest.mark.parametrize(
    ("since", "until"),
    [("2026-03-17", None), ("2026-02-01", "2026-01-01"), ("2020-01-01", None), ("soon", None), (None, "0001-01-02")],
)
def test_days_that_there_are_not_are_none(since: str | None, until: str | None) -> None:
    assert consumption.span("30", since, until, TODAY) is None
