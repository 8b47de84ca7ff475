"""Which price holds, which comes, and which is missing: as the gateways would find it at each instant."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from charkha.govern.limits.domain import Limit
from charkha.govern.prices.coverage import covered, currencies, state_of
from charkha.govern.prices.domain import Price, PriceBook, price_at
from charkha.govern.prices.ports import Use

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WORKSPACE, ORGANISATION = UUID(int=1), UUID(int=2)
hours = st.integers(-5, 5)
spans = st.lists(st.tuples(hours, st.none() | st.integers(1, 6)), max_size=5)


def at(hour: int) -> datetime:
    return NOON + timedelta(hours=hour)


def price(begins: int = 0, lasts: int | None = None, currency: str = "EUR") -> Price:
    ends = None if lasts is None else at(begins + lasts)
    return Price(uuid4(), "workspace", "local", "tiny", currency, 1, 1, at(begins), ends, NOON)


def book_of(prices: list[Price], owner: UUID = WORKSPACE) -> PriceBook:
    ordered = sorted(prices, key=lambda each: (each.valid_from, each.id), reverse=True)
    return {(owner, "local", "tiny"): ordered}


def found(book: PriceBook, *uses: Use, wanted: tuple[str, ...] = ()) -> Any:
    return covered(uses or (Use("local", "tiny", "support"),), book, wanted, (WORKSPACE, ORGANISATION), NOON)


@given(spans=spans, hour=hours)
def test_the_current_price_is_the_one_that_a_request_would_be_charged_by(
    spans: list[tuple[int, int | None]], hour: int
) -> None:
    prices = [price(*span) for span in spans]
    holding = price_at(book_of(prices), (WORKSPACE,), "local", "tiny", at(hour))
    states = {each.id: state_of(each, prices, at(hour)) for each in prices}
    assert [each for each, state in states.items() if state == "current"] == ([holding.id] if holding else [])
    for each in prices:
        assert (states[each.id] == "upcoming") == (each.valid_from > at(hour))
        assert (states[each.id] in ("current", "replaced")) == each.is_valid(at(hour))
        assert state_of(each, [other for other in prices if other is not each], at(hour)) == states[each.id]


@given(own=spans, shared=spans)
def test_what_comes_next_is_what_holds_at_the_first_change(
    own: list[tuple[int, int | None]], shared: list[tuple[int, int | None]]
) -> None:
    mine, all_ = [price(*span) for span in own], [price(*span) for span in shared]
    book = {**book_of(mine), **book_of(all_, ORGANISATION)}
    (told,) = found(book)
    later = [price_at(book, (WORKSPACE, ORGANISATION), "local", "tiny", at(hour)) for hour in range(1, 13)]
    assert told.price == price_at(book, (WORKSPACE, ORGANISATION), "local", "tiny", NOON)
    assert told.upcoming == next((each for each in later if each not in (None, told.price)), None)


def test_a_model_is_told_once_with_all_its_names() -> None:
    uses = (Use("local", "tiny", "b"), Use("local", "tiny", ""), Use("cloud", "big", ""), Use("local", "tiny", "a"))
    assert [(each.engine, each.model, each.names) for each in found({}, *uses)] == [
        ("cloud", "big", []),
        ("local", "tiny", ["a", "b"]),
    ]


def test_a_limit_of_money_misses_the_price_that_nobody_gave() -> None:
    assert found({}, wanted=("EUR", "USD"))[0].missing == ["EUR", "USD"]
    assert found(book_of([price()]), wanted=("EUR", "USD"))[0].missing == ["USD"]
    assert found(book_of([price(1)]), wanted=("EUR",))[0].missing == ["EUR"], "what will hold does not hold yet"
    assert found({})[0].missing == [], "without such a limit a model needs no price"


def test_currencies_are_those_of_limits_that_hold_in_the_workspace() -> None:
    elsewhere, key = UUID(int=3), UUID(int=4)

    def limit(workspace: UUID, subject: Any, owner: UUID, currency: str | None) -> Limit:
        measure: Any = "money" if currency else "tokens"
        return Limit(uuid4(), workspace, subject, owner, measure, "day", 1, currency, NOON)

    book = {
        key: (limit(WORKSPACE, "key", key, "CHF"), limit(WORKSPACE, "key", key, None)),
        WORKSPACE: (limit(WORKSPACE, "workspace", WORKSPACE, "EUR"),),
        ORGANISATION: (limit(elsewhere, "organisation", ORGANISATION, "USD"),),
        elsewhere: (limit(elsewhere, "workspace", elsewhere, "GBP"),),
    }
    assert currencies(book, WORKSPACE, ORGANISATION) == ["CHF", "EUR", "USD"]
