"""What caches did, by day: nothing lost, rates between 0 and 1, money as people read it."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.console.saving import by_day, lasting, money

DAYS = [date(2026, 11, 1) + timedelta(days=number) for number in range(5)]
rows = st.lists(
    st.fixed_dictionaries(
        {
            "day": st.sampled_from([day.isoformat() for day in DAYS]),
            "currency": st.sampled_from(["EUR", "USD", None]),
            "cached": st.integers(0, 9),
            "missed": st.integers(0, 9),
            "saved": st.integers(0, 10**9) | st.none(),
        }
    ).filter(lambda row: row["currency"] or not row["saved"]),
    max_size=12,
)


@given(rows)
def test_everything_is_counted_on_its_day(usage: list[dict[str, Any]]) -> None:
    days = by_day([*usage, {"day": "2020-01-01", "cached": 5, "missed": 5, "saved": 5, "currency": "EUR"}], DAYS)
    for at, day in enumerate(DAYS):
        there = [row for row in usage if row["day"] == day.isoformat()]
        assert days.hits[at] == sum(row["cached"] for row in there)
        assert days.looks[at] == sum(row["cached"] + row["missed"] for row in there)
    assert sum(each.total for each in days.saved) == sum(row["saved"] or 0 for row in usage)
    assert all(rate is None or 0 <= rate <= 1 for rate in [*days.rates, days.rate])


@pytest.mark.parametrize(
    ("micro", "told"), [(0, "0 EUR"), (1, "0.000001 EUR"), (12_500_000, "12.5 EUR"), (10**9, "1000 EUR")]
)
def test_money_is_told_exactly(micro: int, told: str) -> None:
    assert money(micro, "EUR") == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (1, "1 second"),
        (90, "90 seconds"),
        (60, "1 minute"),
        (7_200, "2 hours"),
        (86_400, "1 day"),
        (90_000, "25 hours"),
    ],
)
def test_times_are_told_in_the_largest_unit_that_they_fill(seconds: int, told: str) -> None:
    assert lasting(seconds) == told
