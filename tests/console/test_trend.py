"""Days of feedback: which are shown, and what is counted on each."""

from datetime import date

import pytest

from charkha.console.trend import MOST_DAYS, Span, span, trends

TODAY = date(2026, 3, 10)


@pytest.mark.parametrize(
    ("since", "until", "first", "last", "shortened"),
    [
        (None, None, date(2026, 2, 25), TODAY, False),
        ("2026-03-01", None, date(2026, 3, 1), TODAY, False),
        ("2026-03-01", "2026-03-02", date(2026, 3, 1), date(2026, 3, 1), False),
        (None, "2026-01-15", date(2026, 1, 1), date(2026, 1, 14), False),
        ("2020-01-01", None, date(2025, 12, 9), TODAY, True),
    ],
)
def test_a_span_has_whole_days(since: str | None, until: str | None, first: date, last: date, shortened: bool) -> None:
    assert span(since, until, TODAY) == Span(first, last, shortened)


@pytest.mark.parametrize(
    ("since", "until"), [("soon", None), (None, "0001-01-01"), ("2026-03-02", "2026-03-02"), ("2030-01-01", None)]
)
def test_days_that_are_none_give_no_span(since: str | None, until: str | None) -> None:
    assert span(since, until, TODAY) is None


def test_a_span_asks_for_its_last_day_too() -> None:
    found = Span(date(2026, 2, 27), date(2026, 3, 1))
    assert [str(day) for day in found.days] == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert found.query == {"since": "2026-02-27T00:00:00Z", "until": "2026-03-02T00:00:00Z"}
    longest = span("2000-01-01", None, TODAY)
    assert longest is not None
    assert len(longest.days) == MOST_DAYS


def test_each_kind_has_every_day_and_a_mean_of_all_its_values() -> None:
    points = [
        {"at": "2026-03-08T00:00:00Z", "kind": "thumb", "count": 3, "mean": 1.0},
        {"at": "2026-03-10T00:00:00Z", "kind": "thumb", "count": 1, "mean": 0.0},
        {"at": "2026-03-09T00:00:00Z", "kind": "comment", "count": 9, "mean": None},
    ]
    comment, thumb = trends(points, Span(date(2026, 3, 8), TODAY))
    assert (thumb.kind, thumb.counts, thumb.means, thumb.total, thumb.mean) == (
        "thumb",
        [3, 0, 1],
        [1.0, None, 0.0],
        4,
        0.75,
    )
    assert (comment.kind, comment.counts, comment.mean) == ("comment", [0, 9, 0], None)
    assert [each.kind for each in trends(points, Span(TODAY, TODAY), kind="thumb")] == ["thumb"]
    assert trends([], Span(TODAY, TODAY)) == []
