"""Slots are given once, memory keeps to its bound, nobody sees another key's tokens, and nobody waits for ever."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from charkha.serve.engines.loom.scheduler import Slots, admit, shares

BUDGET, COUNT = 100, 4


class SlotsMachine(RuleBasedStateMachine):
    """Requests come and go; the model keeps what each slot truly holds and of whom."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(COUNT, BUDGET)
        self.busy: dict[int, int] = {}
        self.content: dict[int, tuple[Any, list[int]]] = {}

    @rule(
        key=st.sampled_from([None, "a", "b"]),
        tokens=st.lists(st.integers(0, 1), min_size=1, max_size=30),
        more=st.integers(0, 40),
    )
    def take(self, key: Any, tokens: list[int], more: int) -> None:
        place = self.slots.take(key, list(tokens), len(tokens) + more)
        if place is None:
            return
        assert place.slot not in self.busy
        assert place.known < len(tokens)
        assert not set(place.forgotten) & set(self.busy)
        if place.known:
            assert key is not None
            assert place.source not in set(place.forgotten)
            owner, held = self.content[place.source]
            assert owner == key
            assert held[: place.known] == tokens[: place.known]
        for slot in place.forgotten:
            self.content.pop(slot, None)
        self.busy[place.slot] = len(tokens) + more
        self.content[place.slot] = (key, list(tokens))
        self.slots.read(place.slot, list(tokens))

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.busy:
            slot = data.draw(st.sampled_from(sorted(self.busy)))
            self.slots.leave(slot)
            del self.busy[slot]

    @invariant()
    def memory_keeps_to_its_bound(self) -> None:
        assert sum(self.busy.values()) <= self.slots.claimed <= BUDGET

    def teardown(self) -> None:
        """When all have left, the largest request that is allowed fits."""
        for slot in list(self.busy):
            self.slots.leave(slot)
        assert self.slots.take("c", [1], BUDGET) is not None


TestSlots = SlotsMachine.TestCase


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 60))
def test_shares_use_the_budget_and_no_more(pending: list[int], budget: int) -> None:
    given_ = shares(pending, budget)
    assert sum(given_) == min(budget, sum(pending))
    assert all(0 <= got <= wanted for got, wanted in zip(given_, pending, strict=True))
    if budget >= len(pending):
        assert all(got for got, wanted in zip(given_, pending, strict=True) if wanted)
    fair = budget // max(1, len(pending))
    assert all(got >= min(wanted, fair) for got, wanted in zip(given_, pending, strict=True))


def test_one_that_does_not_fit_is_passed_only_for_a_while() -> None:
    def take(size: int) -> bool:
        return size < 5

    assert admit([9, 1, 2], take, lambda _: False) == [1, 2]
    assert admit([1, 9, 2], take, lambda _: True) == [1]
