"""Rollouts as a state machine: whatever happens in whatever order, one plan is live and its shares are 100 in all."""

import contextlib
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from charkha.core.errors import Conflict, Invalid
from charkha.core.ids import uuid7
from charkha.release.judgement import STEPS, Advance, Finish, Judgement, RollBack, next_step
from charkha.release.ports import Outcome, Share
from charkha.release.registry.domain import Version
from charkha.release.rollouts.domain import (
    ACTIVE,
    CAN_GO_BACK,
    Ground,
    Rules,
    check_canary,
    check_rules,
    is_news,
    objection,
    observations,
    slow_limit,
    split,
    told,
    transition,
    why_not,
)

STATUSES = ("preparing", "running", "promoted", "rolled_back", "superseded", "cancelled", "failed", "declined")
ACTIONS = ("start", "wait", "advance", "promote", "override", "roll_back", "supersede", "cancel", "fail")
VERDICTS = st.sampled_from(["better", "worse", "not enough data"])


@given(st.sampled_from(STATUSES), st.integers(0, 100), st.sampled_from(ACTIONS), st.none() | st.integers(-5, 105))
def test_every_transition_keeps_the_shares_whole_and_refuses_the_rest(
    status: str, share: int, action: str, to: int | None
) -> None:
    try:
        move = transition(status, share, action, to)
    except (Conflict, Invalid):
        return
    assert status in (*ACTIVE, *CAN_GO_BACK)
    assert 0 <= move.share <= 100
    assert (move.status == "promoted") == (action in ("promote", "override"))
    if move.moves_plan:
        shares = split(uuid4(), uuid4(), move.share)
        assert sum(each.share for each in shares) == 100
        assert all(each.share > 0 for each in shares)


@given(st.integers(0, 100))
def test_the_candidate_stands_last_in_a_plan(share: int) -> None:
    baseline, candidate = uuid4(), uuid4()
    shares = split(baseline, candidate, share)
    assert {each.variant_id: each.share for each in shares}.get(candidate, 0) == share
    if share:
        assert shares[-1].variant_id == candidate


class Turns(RuleBasedStateMachine):
    """An endpoint with the domain's own rules: a compare-and-swap, one rollout under way, people who interfere.

    Each rule is one transaction: it does everything or, when `killed`, nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.base = uuid4()
        self.plan = (uuid4(), (Share(self.base, 100),))
        self.good: set[UUID] = {self.base}
        self.rollouts: list[SimpleNamespace] = []

    def current(self) -> SimpleNamespace | None:
        return next((each for each in self.rollouts if each.status in ACTIVE), None)

    def move(self, rollout: SimpleNamespace, action: str, to: int | None = None, *, killed: bool = False) -> None:
        move = transition(rollout.status, rollout.share, action, to)
        plan = self.plan
        if move.moves_plan:
            plan = (uuid4(), split(rollout.baseline, rollout.candidate, move.share))
        if not killed:
            rollout.status, rollout.share = move.status, move.share
            self.plan = plan
            rollout.plan = plan[0] if move.moves_plan else rollout.plan

    def stands(self, rollout: SimpleNamespace) -> bool:
        if rollout.plan == self.plan[0]:
            return True
        self.move(rollout, "supersede")
        return False

    @precondition(lambda self: self.current() is None and len(self.plan[1]) == 1)
    @rule(steps=st.sampled_from([STEPS, (10, 100), (50, 60, 100)]))
    def begin(self, steps: tuple[int, ...]) -> None:
        rollout = SimpleNamespace(status="preparing", share=0, steps=check_canary(steps), plan=self.plan[0])
        rollout.baseline, rollout.candidate = self.plan[1][0].variant_id, uuid4()
        self.rollouts.append(rollout)

    @precondition(lambda self: (now := self.current()) and now.status == "preparing")
    @rule(killed=st.booleans())
    def start(self, killed: bool) -> None:
        rollout = self.current()
        assert rollout
        if self.stands(rollout):
            self.move(rollout, "start", rollout.steps[0], killed=killed)

    @precondition(lambda self: (now := self.current()) and now.status == "running")
    @rule(verdict=VERDICTS, killed=st.booleans())
    def judge(self, verdict: str, killed: bool) -> None:
        rollout = self.current()
        assert rollout
        if not self.stands(rollout):
            return
        before = rollout.share
        match next_step(rollout.steps, rollout.share, Judgement(verdict, "because", {})):
            case Advance(share):
                self.move(rollout, "advance", share, killed=killed)
            case Finish():
                assert verdict == "better"
                self.move(rollout, "promote", killed=killed)
            case RollBack():
                self.move(rollout, "roll_back", killed=killed)
        if verdict == "not enough data":
            assert rollout.share == before
        if verdict == "worse" and not killed:
            assert rollout.candidate not in {each.variant_id for each in self.plan[1]}

    @precondition(lambda self: self.current())
    @rule(action=st.sampled_from(["cancel", "override", "fail"]))
    def interfere(self, action: str) -> None:
        rollout = self.current()
        assert rollout
        if self.stands(rollout):
            with contextlib.suppress(Conflict):
                self.move(rollout, action)

    @rule(share=st.integers(1, 100))
    def move_by_hand(self, share: int) -> None:
        other = self.rollouts[-1].candidate if self.rollouts else uuid4()
        self.plan = (uuid4(), split(self.base, other, share))

    @rule(killed=st.booleans())
    def roll_back(self, killed: bool) -> None:
        serving = {each.variant_id for each in self.plan[1]}
        undone = [each for each in reversed(self.rollouts) if each.status in (*ACTIVE, *CAN_GO_BACK)]
        back = next((each for each in undone if each.status in CAN_GO_BACK and each.candidate in serving), None)
        if back is None:
            return
        for other in undone:
            if other.status in ACTIVE and other is not back:
                self.move(other, "supersede", killed=killed)
        self.move(back, "roll_back", killed=killed)
        if not killed:
            assert {each.variant_id: each.share for each in self.plan[1]} == {back.baseline: 100}

    @invariant()
    def one_plan_with_whole_shares(self) -> None:
        assert sum(each.share for each in self.plan[1]) == 100
        assert all(each.share > 0 for each in self.plan[1])
        assert len({each.variant_id for each in self.plan[1]}) == len(self.plan[1])

    @invariant()
    def at_most_one_rollout_is_under_way(self) -> None:
        assert sum(each.status in ACTIVE for each in self.rollouts) <= 1

    @invariant()
    def a_running_rollout_has_the_share_that_it_says_while_its_plan_is_live(self) -> None:
        for each in self.rollouts:
            if each.status == "running" and each.plan == self.plan[0]:
                assert {share.variant_id: share.share for share in self.plan[1]}[each.candidate] == each.share


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def version(**changes: object) -> Version:
    empty = dict.fromkeys(("endpoint_id", "run_id", "dataset_version_id", "system_prompt", "base_hash"))
    facts = {"id": uuid4(), "name": "v", "number": 1, "kind": "adapter", "engine": "local", "base_model": "tiny"}
    rest = {"adapters": (), "artefacts": {}, "detail": {}, "created_at": datetime.now(UTC)}
    return Version(**(empty | facts | rest | changes))


def ground(**changes: object) -> Ground:
    baseline = SimpleNamespace(id=uuid4(), name="base", engine="local", model="tiny", version_id=uuid4())
    facts = {"endpoint_id": uuid4(), "plan_id": uuid4(), "shares": (Share(baseline.id, 100),), "occupied": False}
    return Ground(**(facts | {"baseline": baseline} | changes))


def card(found: Ground, **changes: object) -> SimpleNamespace:
    facts = {"verdict": "better", "summary": "0.2 against 0.8", "incumbent_version_id": found.baseline.version_id}
    return SimpleNamespace(**(facts | changes))


def test_only_a_better_candidate_for_this_endpoint_is_rolled_out() -> None:
    found, candidate = ground(), version()
    assert objection(candidate, found) is None
    assert why_not(card(found), candidate, found) is None
    assert why_not(card(found, incumbent_version_id=None), candidate, found) is None
    assert "worse" in str(why_not(card(found, verdict="worse"), candidate, found))
    assert "not enough data" in str(why_not(card(found, verdict="not enough data"), candidate, found))
    assert "no longer" in str(why_not(card(found, incumbent_version_id=uuid4()), candidate, found))
    split_by_hand = ground(shares=(Share(uuid4(), 40), Share(uuid4(), 60)))
    assert "split" in str(why_not(card(split_by_hand), candidate, split_by_hand))
    assert "under way" in str(objection(candidate, ground(occupied=True)))
    assert "already" in str(objection(version(id=found.baseline.version_id), found))
    for other in (version(base_model="huge"), version(engine="remote")):
        assert "the endpoint serves" in str(objection(other, found))


@pytest.mark.parametrize("steps", [(100,), (), (10, 5, 100), (0, 100), (1, 10), (1, 101)])
def test_steps_without_a_baseline_or_order_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(Invalid):
        check_canary(steps)


@pytest.mark.parametrize(
    "change", [{"alpha": 0}, {"alpha": 1}, {"minimum": 0}, {"slow_ms": 0}, {"slow_ms": float("nan")}]
)
def test_rules_that_judge_nothing_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(Invalid):
        check_rules(msgspec.structs.replace(Rules(), **change))


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_slow_is_well_above_most_of_the_baseline(durations: list[float]) -> None:
    limit = slow_limit(durations)
    assert limit is not None
    assert sum(each > limit for each in durations) <= 0.05 * len(durations)
    assert limit >= 200


def test_nothing_is_slow_without_a_limit_or_a_duration() -> None:
    assert slow_limit([]) is None
    candidate, other = uuid4(), uuid4()
    outcomes = [Outcome(uuid7(), candidate, False, 300.0, 1.0), Outcome(uuid7(), other, True, None, None)]
    assert [each.slow for each in observations(outcomes, candidate, Rules(slow_ms=250))] == [True, False]
    assert [each.slow for each in observations(outcomes, candidate, Rules())] == [False, False]
    assert [each.arm for each in observations(outcomes, candidate, Rules())] == ["candidate", "baseline"]


def test_a_judgement_is_news_when_its_verdict_or_the_share_is_new() -> None:
    judgement = Judgement("not enough data", "3 more", {})
    assert is_news(None, judgement, 1)
    before = told(judgement, 1)
    assert not is_news(before, Judgement("not enough data", "2 more", {}), 1)
    assert is_news(before, judgement, 10)
    assert is_news(before, Judgement("better", "", {}), 1)
