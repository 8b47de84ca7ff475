"""Who gets which variant: shares honoured, nobody moved who need not be, the same answer every time."""

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.serve.domain import (
    BUCKETS,
    Adapter,
    Share,
    assign,
    bounds,
    bucket,
    check_endpoint,
    check_shares,
    check_variant,
)

ids = st.uuids()
units = st.text(min_size=1, max_size=60)


@st.composite
def plans(draw: st.DrawFn) -> list[Share]:
    """Plans of 1 to 5 variants whose shares are 100 in all."""
    cuts = sorted(draw(st.lists(st.integers(0, 100), max_size=4)))
    edges = [0, *cuts, 100]
    names = draw(st.lists(ids, min_size=len(edges) - 1, max_size=len(edges) - 1, unique=True))
    return [Share(name, high - low) for name, low, high in zip(names, edges, edges[1:], strict=False)]


@given(plans(), ids, units)
def test_everybody_gets_a_variant_that_has_a_share(plan: list[Share], endpoint: UUID, unit: str) -> None:
    chosen = assign(plan, endpoint, unit)
    assert chosen in [share.variant_id for share in plan if share.share > 0]
    assert chosen == assign(plan, endpoint, unit)


@given(plans())
def test_the_ranges_cover_all_buckets_in_the_measure_of_the_shares(plan: list[Share]) -> None:
    widths: dict[UUID, int] = {}
    reached = 0
    for bound, variant_id in bounds(plan):
        widths[variant_id], reached = bound - reached, bound
    assert reached == BUCKETS
    assert widths == {share.variant_id: share.share * BUCKETS // 100 for share in plan if share.share}


@given(ids, ids, ids, st.integers(0, 100), st.integers(0, 100), units)
def test_a_growing_candidate_keeps_everybody_it_had(
    endpoint: UUID, baseline: UUID, candidate: UUID, one: int, other: int, unit: str
) -> None:
    small, large = sorted((one, other))
    before = assign([Share(baseline, 100 - small), Share(candidate, small)], endpoint, unit)
    after = assign([Share(baseline, 100 - large), Share(candidate, large)], endpoint, unit)
    assert before != candidate or after == candidate


@pytest.mark.parametrize("share", [1, 10, 50])
def test_shares_are_honoured(share: int) -> None:
    endpoint, baseline, candidate = UUID(int=1), UUID(int=2), UUID(int=3)
    plan = [Share(baseline, 100 - share), Share(candidate, share)]
    got = Counter(assign(plan, endpoint, f"user-{number}") for number in range(20_000))
    expected = 20_000 * share / 100
    assert abs(got[candidate] - expected) < 5 * (expected * (1 - share / 100)) ** 0.5


def test_each_candidate_meets_other_people_first() -> None:
    endpoint = UUID(int=1)
    first, second = (
        {unit for unit in range(5_000) if bucket(endpoint, UUID(int=number), str(unit)) < BUCKETS // 10}
        for number in (7, 8)
    )
    assert 20 < len(first & second) < 90  # 50 of 5,000 are expected by chance


@given(plans(), st.integers(-50, 50).filter(bool))
def test_a_plan_whose_shares_do_not_sum_up_is_refused(plan: list[Share], more: int) -> None:
    known = [share.variant_id for share in plan]
    check_shares(plan, known)
    with pytest.raises(Invalid):
        check_shares([*plan[:-1], Share(plan[-1].variant_id, plan[-1].share + more)], known)
    with pytest.raises(Invalid, match="not one of this endpoint"):
        check_shares(plan, known[:-1])


def test_a_plan_names_a_variant_once() -> None:
    with pytest.raises(Invalid, match="twice"):
        check_shares([Share(UUID(int=1), 50), Share(UUID(int=1), 50)], [UUID(int=1)])
    with pytest.raises(Invalid):
        check_shares([], [])


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "a@1", "-a", "a\0", "a/b", "b" * 32, str(UUID(int=5))])
def test_names_that_cannot_be_called_are_refused(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_endpoint(name, None)
    assert caught.value.param == "name"


@pytest.mark.parametrize("labels", [[], ["a", "a"], [""], ["a\0"], ["a" * 201]])
def test_labels_are_different_words(labels: list[str]) -> None:
    check_endpoint("fine", ["a", "b"])
    with pytest.raises(Invalid):
        check_endpoint("fine", labels)


@pytest.mark.parametrize(
    ("name", "adapters", "prompt"),
    [
        ("line\nbreak", [], None),
        ("a", [Adapter("../../etc/passwd")], None),
        ("a", [Adapter("a" * 64, 5.0)], None),
        ("a", [Adapter("a" * 64), Adapter("a" * 64)], None),
        ("a", [Adapter(f"{number:064x}") for number in range(9)], None),
        ("a", [], "\0"),
    ],
)
def test_variants_that_could_not_be_served_are_refused(name: str, adapters: list[Adapter], prompt: str | None) -> None:
    check_variant("summaries@3", [Adapter("a" * 64, -1.5)], "Be brief.")
    with pytest.raises(Invalid):
        check_variant(name, adapters, prompt)
