"""What a release's figures mean, in words: where it stands, what its evidence says, what was decided. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from charkha.console.filters import milliseconds, number, percent

Facts = Mapping[str, Any]
ROLLING = ("preparing", "running")

_NOW = {
    "preparing": "Engines load its adapter. It has no traffic yet.",
    "running": "It answers {share} % of the traffic, and is judged beside what answers the rest.",
    "promoted": "It has all of the traffic.",
    "rolled_back": "Its traffic was taken away; what served before serves on.",
    "superseded": "The endpoint's plan was moved by something else.",
    "cancelled": "It was cancelled; what served before has all of the traffic.",
    "failed": "It failed before it had traffic; nothing has moved.",
    "declined": "It never began: the evidence did not allow it.",
}
_ACTIONS = {
    "prepare": "Prepared",
    "start": "Began",
    "wait": "Waits",
    "advance": "Advanced",
    "promote": "Promoted",
    "override": "Promoted by hand, over the evidence",
    "roll_back": "Rolled back",
    "supersede": "Superseded",
    "cancel": "Cancelled",
    "fail": "Failed",
    "decline": "Declined",
}
_MARKS = {"roll_back": "failed", "fail": "failed", "decline": "failed", "cancel": "failed", "wait": "next"}


class Rung(NamedTuple):
    """A step of a release. `state`: done, skipped, now, next or stopped."""

    share: int
    state: str


class Row(NamedTuple):
    """One measure of both arms, as text."""

    name: str
    candidate: str
    baseline: str
    explanation: str


class Bar(NamedTuple):
    """How far evidence has come. `part`: 0 to 1 of what is needed, on the scale on which evidence adds up."""

    name: str
    part: float
    told: str
    explanation: str


def now(rollout: Facts) -> str:
    """Where a release stands, in a sentence."""
    return _NOW.get(rollout["status"], "").format(share=rollout["share"])


def action(name: str) -> str:
    """What was decided."""
    return _ACTIONS.get(name, name.replace("_", " ").capitalize())


def mark(name: str) -> str:
    """How a decision's dot looks: done, next or failed."""
    return _MARKS.get(name, "done")


def ladder(rollout: Facts, decisions: Sequence[Facts]) -> list[Rung]:
    """The steps of a release and how far it came."""
    status = rollout["status"]
    taken = {each["share"] for each in decisions if each["share"]}
    reached = rollout["share"] if status == "running" else max(taken, default=0)
    here = {"running": "now", "promoted": "done"}.get(status, "stopped")

    def state(step: int) -> str:
        if step >= reached:
            return here if step == reached else "next"
        return "done" if step in taken else "skipped"

    return [Rung(step, state(step)) for step in rollout["steps"]]


def arms(evidence: Facts, rules: Facts) -> list[Row]:
    """What a judgement knew of candidate and baseline; empty where nothing was judged yet."""
    if not evidence.get("better"):
        return []
    better, worse, took = evidence["better"], evidence["worse"], evidence.get("latency_ms", {})
    slow = rules.get("slow_ms")
    limit = f"longer than {milliseconds(slow)}" if slow else "longer than a limit, and none is set"
    return [
        _row("Scored answers", better, _count, "Answers with feedback, by which quality is judged."),
        _row("Mean score", better, _score, "Of those, from 0 (bad) to 1 (good)."),
        _row("Answers", worse["errors"], _count, "All answers of this step, with or without feedback."),
        _row("Failed", worse["errors"], _share, "Answers that ended in an error of the server."),
        _row("Slow", worse["latency"], _share, f"Answers that took {limit}. It was fixed when the release began."),
        *(
            _row(f"Latency {name}", took, lambda arm, name=name: milliseconds(arm.get(name)), explanation)
            for name, explanation in (
                ("p50", "Half of the answers took no longer; failed ones are left out."),
                ("p95", "95 of 100 answers took no longer; failed ones are left out."),
            )
            if took
        ),
    ]


def bars(evidence: Facts) -> list[Bar]:
    """How near the evidence is to each verdict; empty where nothing was judged yet."""
    if not evidence.get("better"):
        return []
    told = "Odds on a bet that it is {}: the product over all answers so far. At {} it is believed, however often one looks."
    better = evidence["better"]
    found = [
        _bar("better", better["e_value"], better["needed"], told.format("scored higher", number(better["needed"])))
    ]
    for name, word in (("quality", "scored lower"), ("errors", "failing more often"), ("latency", "slow more often")):
        guard = evidence["worse"][name]
        found.append(_bar(word, guard["peak"], guard["needed"], told.format(word, number(guard["needed"]))))
    return found


def gateways(done: Facts) -> str:
    """Which processes serve the plan of a rollback, and how soon they did."""
    told = ", ".join(f"{each['host']} (process {each['pid']}, version {each['version']})" for each in done["gateways"])
    count = len(done["gateways"])
    who = f"{count} gateway process{'es' if count != 1 else ''}"
    plan = str(done["rollback"]["plan_id"])[-8:]
    if not count:
        return f"Plan {plan} is live; no gateway process runs now."
    verb = "serve" if count != 1 else "serves"
    took = milliseconds(done["milliseconds"])
    return f"{who} {verb} the plan before it again, as plan {plan}, {took} after the click: {told}."


def _row(name: str, figures: Facts, tell: Any, explanation: str) -> Row:
    return Row(name, tell(figures["candidate"]), tell(figures["baseline"]), explanation)


def _count(arm: Facts) -> str:
    return number(arm["n"])


def _score(arm: Facts) -> str:
    return number(arm["mean"], 2)


def _share(arm: Facts) -> str:
    return "–" if arm["mean"] is None else f"{percent(arm['mean'])} ({number(round(arm['mean'] * arm['n']))})"


def _bar(name: str, value: float, needed: float, explanation: str) -> Bar:
    """Evidence multiplies, so that its logarithm is what adds up."""
    part = min(max(math.log(value) / math.log(needed), 0.0), 1.0) if value > 0 and needed > 1 else 0.0
    return Bar(name, part, f"{_odds(value)} of {number(needed)}", explanation)


def _odds(value: float) -> str:
    return "over a million" if value > 1e6 else number(value, 0 if value >= 10 else 1)
