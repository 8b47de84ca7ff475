"""The retry budget: however requests and retries come, retries stay a share of them, and a little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serve.routing.budget import RetryBudget

EVENTS = st.lists(st.one_of(st.just("request"), st.just("retry"), st.floats(0.0, 30.0)), max_size=300)


@given(EVENTS)
def test_retries_are_a_share_of_the_requests_and_a_floor(events: list[str | float]) -> None:
    budget, now, requests, retries = RetryBudget(0.0, share=0.2, floor=0.5, capacity=10), 0.0, 0, 0
    for event in events:
        if isinstance(event, float):
            now += event
        elif event == "request":
            requests += 1
            budget.request()
        else:
            retries += budget.take(now)
        assert retries <= 10 + 0.2 * requests + 0.5 * now + 1e-6
        assert 0 <= budget.left <= 10


def test_a_storm_is_bounded() -> None:
    budget = RetryBudget(0.0)
    granted = 0
    for _ in range(10_000):
        budget.request()
        granted += budget.take(0.0)
    assert granted == pytest.approx(50 + 0.2 * 10_000, abs=2)


def test_a_quiet_engine_may_be_tried_again() -> None:
    budget = RetryBudget(0.0, share=0.2, floor=1.0, capacity=3)
    assert [budget.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert budget.take(1.0)
    assert not budget.take(1.5)
