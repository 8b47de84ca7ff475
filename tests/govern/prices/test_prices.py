"""What a request costs, and which price holds when."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from charkha.govern.prices.domain import Price, price_at

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
tokens, micro = st.integers(0, 10**7), st.integers(0, 10**12)


def price(prompt: int = 1, completion: int = 1, *, begins: datetime = NOON, ends: datetime | None = None) -> Price:
    return Price(uuid4(), "workspace", "local", "tiny", "EUR", prompt, completion, begins, ends, NOON)


@given(read=tokens, written=tokens, prompt=micro, completion=micro)
def test_a_cost_is_exact_and_rounded_up(read: int, written: int, prompt: int, completion: int) -> None:
    exact = Fraction(read * prompt + written * completion, 1_000_000)
    cost = price(prompt, completion).of(read, written)
    assert exact <= cost < exact + 1


@given(used=st.tuples(tokens, tokens), more=st.tuples(tokens, tokens), prompt=micro, completion=micro)
def test_a_bound_on_tokens_is_a_bound_on_money(
    used: tuple[int, int], more: tuple[int, int], prompt: int, completion: int
) -> None:
    told = price(prompt, completion)
    assert told.of(*used) <= told.of(used[0] + more[0], used[1] + more[1])


def test_the_price_that_began_last_holds_until_it_ends() -> None:
    workspace, organisation = UUID(int=1), UUID(int=2)
    old, new = price(), price(begins=NOON + HOUR, ends=NOON + 2 * HOUR)
    everywhere = price(begins=NOON - HOUR)
    book = {(workspace, "local", "tiny"): [new, old], (organisation, "local", "tiny"): [everywhere]}

    def at(instant: datetime, model: str = "tiny") -> Price | None:
        return price_at(book, (workspace, organisation), "local", model, instant)

    assert at(NOON - 2 * HOUR) is None
    assert at(NOON - HOUR) is everywhere, "the organisation's, where the workspace has none yet"
    assert at(NOON) is at(NOON + 2 * HOUR) is old
    assert at(NOON + HOUR) is new
    assert at(NOON, "other") is None
