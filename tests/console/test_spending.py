"""Amounts as people read and type them: exact, never in anybody's favour, and the same there and back."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.console import spending
from charkha.core.errors import Invalid

NOON = datetime(2026, 3, 16, 12, tzinfo=UTC)
MICRO = st.integers(0, 10**15)


def limit(**changes: Any) -> dict[str, Any]:
    usual = {"measure": "tokens", "window": "day", "amount": 1_000, "currency": None, "spent": 0, "held": 0}
    made = {**usual, "resets_at": "2026-03-17T00:00:00Z", **changes}
    return {"remaining": max(0, made["amount"] - made["spent"] - made["held"]), **made}


@given(MICRO)
def test_money_is_written_exactly_and_read_back(micro: int) -> None:
    euros = limit(measure="money", currency="EUR")
    assert Decimal(spending.money(micro, "EUR").removesuffix("\u202fEUR").replace("\u202f", "")) * 10**6 == micro
    assert spending.units({"x": spending.typed(micro, euros)}, "x", "It", is_money=True) == micro
    assert spending.units({"x": spending.typed(micro, limit())}, "x", "It", is_money=False) == micro


@given(st.integers(1, 10**15))
def test_what_is_about_so_much_is_near_it_and_never_nothing(micro: int) -> None:
    told = Decimal(spending.about(micro, "EUR").removesuffix("\u202fEUR").replace("\u202f", "")) * 10**6
    assert told > 0
    assert abs(told - micro) <= max(micro // 19, 5_000 if micro >= 10**6 else 0)


@pytest.mark.parametrize(
    ("micro", "exact", "about"),
    [
        (None, "–", "–"),
        (0, "0.00 EUR", "0.00 EUR"),
        (12_500_000, "12.50 EUR", "12.50 EUR"),
        (1_234_567_891, "1 234.567891 EUR", "1 234.57 EUR"),
        (1_234, "0.001234 EUR", "0.0012 EUR"),
        (1, "0.000001 EUR", "0.000001 EUR"),
    ],
)
def test_money_reads_so(micro: int | None, exact: str, about: str) -> None:
    assert spending.money(micro, "EUR").replace("\u202f", " ") == exact
    assert spending.about(micro, "EUR").replace("\u202f", " ") == about


def test_limits_read_as_sentences() -> None:
    told = [
        spending.words(each).replace("\u202f", " ")
        for each in (
            limit(),
            limit(measure="requests", window="minute", amount=600),
            limit(measure="money", window="month", amount=250_000_000, currency="EUR"),
            limit(measure="concurrency", window="total", amount=8),
            limit(window="total"),
        )
    ]
    assert told == [
        "1 000 tokens a day",
        "600 requests a minute",
        "250.00 EUR a month",
        "8 requests at once",
        "1 000 tokens in all",
    ]


@given(amount=st.integers(0, 10**6), spent=st.integers(0, 2 * 10**6), held=st.integers(0, 10**6))
def test_a_bar_never_shows_more_left_than_there_is(amount: int, spent: int, held: int) -> None:
    bar = spending.bar(limit(amount=amount, spent=spent, held=held), NOON)
    assert 0 <= bar.spent <= 1
    assert -1e-12 <= bar.held <= 1
    free = 1 - bar.spent - bar.held
    assert free <= max(0, amount - spent - held) / (amount or 1) + 1e-9
    assert (bar.level == "full") == (spent + held >= amount)
    if bar.level == "near":
        assert (spent + held) / amount >= spending.NEAR


@pytest.mark.parametrize(
    ("window", "resets_at", "passed"),
    [
        ("day", "2026-03-17T00:00:00Z", 0.5),
        ("month", "2026-04-01T00:00:00Z", 0.5),
        ("month", "2026-03-01T00:00:00Z", 1.0),
        ("hour", "2026-03-16T13:00:00Z", None),
        ("total", None, None),
    ],
)
def test_the_line_tells_how_much_of_the_window_is_over(
    window: str, resets_at: str | None, passed: float | None
) -> None:
    found = spending.bar(limit(window=window, resets_at=resets_at), NOON).passed
    assert found == (pytest.approx(passed) if passed is not None else None)


@pytest.mark.parametrize("typed", ["1,000", "1.000.000", "12.5000001", "-1", "1e3", "many", "1" * 17, "٣"])
def test_what_is_no_amount_is_refused_by_its_label(typed: str) -> None:
    with pytest.raises(Invalid, match=r"Amount: '.*' is no amount") as refused:
        spending.units({"x": typed}, "x", "Amount", is_money=True)
    assert "12.50" in str(refused.value.remedy)


def test_a_part_of_a_token_is_refused_and_spaces_are_not() -> None:
    with pytest.raises(Invalid, match="no amount"):
        spending.units({"x": "10.5"}, "x", "Amount", is_money=False)
    assert spending.units({"x": " 1 000_000\u202f000 "}, "x", "Amount", is_money=False) == 10**9
    assert spending.units({"x": " "}, "x", "Amount", is_money=False) is None


def test_times_are_read_in_utc_and_what_is_none_is_refused() -> None:
    assert spending.instant({"x": "2027-01-01T00:00"}, "x", "Begins") == "2027-01-01T00:00:00+00:00"
    assert spending.instant({"x": "2027-01-01T00:00+02:00"}, "x", "Begins") == "2027-01-01T00:00:00+02:00"
    assert spending.instant({}, "x", "Begins") is None
    with pytest.raises(Invalid, match="Begins: 'soon' is no time"):
        spending.instant({"x": "soon"}, "x", "Begins")
