"""Which ways can answer, and which is asked first: pure, so it is tested with whatever can be imagined."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.serve.routing.domain import (
    STRATEGIES,
    Alternative,
    Facts,
    Reach,
    Routing,
    Strategy,
    check_routing,
    fitting,
    order,
)

tasks = st.sampled_from(["code", "translate", "chat"])
reaches = st.lists(
    st.builds(Reach, st.none() | st.integers(1, 1_000), st.frozensets(tasks, max_size=2)), min_size=1, max_size=9
)
facts = st.lists(
    st.builds(
        Facts,
        st.none() | st.integers(0, 100),
        st.none() | st.floats(0, 10),
        st.integers(0, 100),
        st.booleans(),
    ),
    min_size=1,
    max_size=9,
)


@given(reaches, st.none() | tasks, st.integers(0, 1_200))
def test_only_ways_that_can_answer_are_found(ways: list[Reach], task: str | None, tokens: int) -> None:
    able = {
        place
        for place, way in enumerate(ways)
        if (not way.tasks or task in way.tasks) and (way.context_tokens is None or tokens <= way.context_tokens)
    }
    if not able:
        with pytest.raises(Invalid) as caught:
            fitting(ways, endpoint="support", task=task, tokens=tokens)
        assert caught.value.code in ("task_not_served", "context_length_exceeded")
        assert caught.value.remedy
        return
    found = fitting(ways, endpoint="support", task=task, tokens=tokens)
    assert set(found) == able
    assert len(found) == len(able)
    kept = [bool(ways[place].tasks) for place in found]
    assert kept == sorted(kept, reverse=True), "those that are kept for the task go first"
    for group in (True, False):
        places = [place for place in found if bool(ways[place].tasks) is group]
        assert places == sorted(places), "as they are listed"


@given(st.sampled_from(STRATEGIES), facts, st.data())
def test_an_order_has_every_way_once_and_follows_its_strategy(
    strategy: Strategy, ways: list[Facts], data: st.DataObject
) -> None:
    groups = data.draw(st.none() | st.lists(st.integers(0, 1), min_size=len(ways), max_size=len(ways)))
    found = order(strategy, ways, groups=groups)
    assert sorted(found) == list(range(len(ways)))
    for one, other in pairwise(found):
        first, second = ways[one], ways[other]
        assert first.available or not second.available, "what is not available comes last"
        if first.available != second.available or (groups and groups[one] != groups[other]):
            assert first.available != second.available or groups is None or groups[one] < groups[other]
            continue
        match strategy:
            case "listed":
                assert one < other
            case "pending":
                assert first.pending <= second.pending
            case "cost":
                assert second.cost is None or (first.cost is not None and first.cost <= second.cost)
            case "latency":
                assert first.latency is None or (second.latency is not None and first.latency <= second.latency)


GOOD = Alternative(engine="local", model="tiny")
BAD: list[tuple[dict[str, Any], str]] = [
    ({"alternatives": [GOOD] * 9}, "alternatives"),
    ({"alternatives": [Alternative(engine="nowhere", model="tiny")]}, "alternatives"),
    ({"alternatives": [Alternative(engine="local", model="")]}, "alternatives"),
    ({"alternatives": [Alternative(engine="local", model="tiny", context_tokens=0)]}, "alternatives.context_tokens"),
    ({"alternatives": [Alternative(engine="local", model="tiny", tasks=["a b"])]}, "alternatives.tasks"),
    ({"routing": Routing(tasks=["a", "a"])}, "routing.tasks"),
    ({"routing": Routing(context_tokens=-1)}, "routing.context_tokens"),
    ({"routing": Routing(hedge_ms=0)}, "routing.hedge_ms"),
    ({"routing": Routing(retries=6)}, "routing.retries"),
    ({"routing": Routing(retries=-1)}, "routing.retries"),
    ({"routing": Routing(request_seconds=float("nan"))}, "routing.request_seconds"),
    ({"routing": Routing(first_token_seconds=0.01)}, "routing.first_token_seconds"),
]


@pytest.mark.parametrize(("fields", "param"), BAD)
def test_bad_ways_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_routing(fields.get("alternatives", []), fields.get("routing", Routing()), {"local"})
    assert caught.value.param == param
    assert caught.value.remedy
    check_routing([GOOD], Routing(hedge_ms=10, first_token_seconds=2, tasks=["a", "b"]), {"local"})
