"""The turn that an endpoint's wheel is in: what has happened, what happens now, and what comes next. Pure.

It is read off what the API tells of the newest run, its version, that version's evaluation and its rollout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["done", "now", "next", "failed"]
Facts = Mapping[str, Any]
RUNNING = ("queued", "running")
ROLLING = ("preparing", "running")
NAMES = ("Serve", "Observe", "Learn", "Evaluate", "Release")


@dataclass(frozen=True)
class Stage:
    """One stage of the turn. `path` leads to what it is about; `text` says what is known of it."""

    name: str
    state: State
    text: str
    path: str = ""


@dataclass(frozen=True)
class Turn:
    """A turn as it stands. `done` of `total` is how far the present stage is; `fraction` how far the whole turn is."""

    stages: tuple[Stage, ...]
    now: str
    next: str
    done: float | None
    total: float | None
    fraction: float
    before: float | None
    after: float | None
    metric: str


@dataclass(frozen=True)
class Known:
    """What the API tells of one endpoint's newest turn; None for what there is not (yet). `more`: than were counted."""

    policy: Facts | None
    run: Facts | None
    version: Facts | None
    evaluation: Facts | None
    rollout: Facts | None
    requests: int = 0
    more: bool = False


@dataclass(frozen=True)
class _Place:
    """Where the turn is: the index of its stage, and what to say of it."""

    index: int
    failed: bool
    now: str
    next: str
    done: float | None = None
    total: float | None = None


def turn(known: Known) -> Turn:
    """The turn of an endpoint."""
    place = _place(known)
    stages = tuple(
        Stage(name, _state(index, place), _text(index, known), _path(index, known)) for index, name in enumerate(NAMES)
    )
    part = min(place.done / place.total, 1.0) if place.done is not None and place.total else 0.0
    card = (known.evaluation or {}).get("scorecard") or {}
    return Turn(
        stages=stages,
        now=place.now,
        next=place.next,
        done=place.done,
        total=place.total,
        fraction=min((place.index + part) / len(NAMES), 1.0),
        before=_rate(card, "incumbent"),
        after=_rate(card, "candidate"),
        metric=str(card.get("metric", "")).replace("_", " "),
    )


def _state(index: int, place: _Place) -> State:
    if index < place.index:
        return "done"
    if index > place.index:
        return "next"
    return "failed" if place.failed else "now"


def _place(known: Known) -> _Place:
    """Where the turn is, latest things first."""
    if known.rollout is not None:
        return _releasing(known, known.rollout)
    if known.evaluation is not None:
        return _evaluating(known.evaluation)
    if known.run is not None:
        return _learning(known.run, known.version)
    return _gathering(known)


def _gathering(known: Known) -> _Place:
    if not known.requests and not _waiting(known.policy):
        return _Place(
            0, False, "Waiting for the first request.", "Requests are written down, and feedback on them gathers."
        )
    if known.policy is None:
        return _Place(
            1,
            False,
            "Traffic is written down. No training policy is set, so nothing is learned by itself.",
            "Set a policy on the endpoint, or start a run by hand.",
        )
    waiting, wanted = _waiting(known.policy), known.policy["minimum_examples"]
    if not known.policy["enabled"]:
        return _Place(
            1, False, "Feedback gathers; training by itself is switched off.", "Switch the policy on to learn from it."
        )
    return _Place(
        1,
        False,
        f"Gathering feedback: {waiting} of {wanted} lessons.",
        f"At {wanted} lessons a data set is frozen and an adapter trained on it.",
        waiting,
        wanted,
    )


def _learning(run: Facts, version: Facts | None) -> _Place:
    status = run["status"]
    if status in RUNNING:
        verb = "Training an adapter" if status == "running" else "Waiting to train an adapter"
        following = "The adapter is scored on held-out examples, beside what serves now."
        return _Place(2, False, f"{verb}.", following, run["step"], run["steps"])
    if status == "succeeded":
        what = "The adapter is being registered." if version is None else "The adapter waits for its evaluation."
        return _Place(3, False, what, "Held-out examples decide whether it may take traffic.")
    reason = f": {run['error']}" if run.get("error") else "."
    return _Place(
        2, True, f"Training {status}{reason}", "Look at the run's log; it can be resumed from its last checkpoint."
    )


def _evaluating(evaluation: Facts) -> _Place:
    status = evaluation["status"]
    if status in RUNNING:
        following = "If it is better it gets a small share of the traffic; otherwise nothing changes."
        return _Place(
            3, False, "Scoring the candidate on held-out examples.", following, evaluation["done"], evaluation["total"]
        )
    if status == "failed":
        return _Place(
            3, True, f"The evaluation failed: {evaluation['error']}", "Start it again from the version's page."
        )
    return _Place(
        4,
        False,
        "The scorecard is ready; the release is being decided.",
        "A better candidate gets traffic step by step.",
    )


def _releasing(known: Known, rollout: Facts) -> _Place:
    status, name = rollout["status"], rollout["candidate"]
    steps = rollout["steps"]
    if status in ROLLING:
        waits = "engines load it" if status == "preparing" else f"it answers {rollout['share']} % of the traffic"
        reached = sum(step < rollout["share"] for step in steps)
        return _Place(
            4,
            False,
            f"Releasing {name}: {waits}.",
            "Live feedback, errors and latency decide each step.",
            reached,
            len(steps),
        )
    if status in ("promoted", "superseded"):
        gather = _gathering(known)
        ahead = (
            gather.next
            if known.policy and known.policy["enabled"]
            else "It keeps the traffic until a better one comes."
        )
        told = f"{name} answers all traffic." if status == "promoted" else f"{name} was followed by another plan."
        return _Place(5, False, told, ahead)
    reason = rollout.get("reason") or "see its decisions"
    return _Place(
        4,
        True,
        f"{name} was {status.replace('_', ' ')}: {reason}",
        "What served before serves on. More feedback makes the next candidate.",
    )


def _text(index: int, known: Known) -> str:
    """What is known of a stage, in a few words."""
    return (_serve, _observe, _learn, _evaluate, _release)[index](known)


def _serve(known: Known) -> str:
    return f"{'more than ' if known.more else ''}{known.requests} requests in the last day"


def _observe(known: Known) -> str:
    if known.policy is None:
        return "no training policy"
    return f"{_waiting(known.policy)} of {known.policy['minimum_examples']} lessons for the next turn"


def _learn(known: Known) -> str:
    run = known.run
    if run is None:
        return "no run yet"
    return f"{run['status']}, step {run['step']} of {run['steps'] or '…'}"


def _evaluate(known: Known) -> str:
    if known.evaluation is None:
        return "not scored yet"
    card = known.evaluation.get("scorecard")
    return str(card["summary"]) if card else str(known.evaluation["status"])


def _release(known: Known) -> str:
    if known.rollout is None:
        return "no rollout yet"
    return f"{known.rollout['candidate']}: {known.rollout['status'].replace('_', ' ')} at {known.rollout['share']} %"


def _path(index: int, known: Known) -> str:
    """Where a stage leads to."""
    links: Sequence[str] = (
        "/inferences",
        "/feedback",
        f"/runs/{known.run['id']}" if known.run else "/runs",
        f"/versions/{known.version['id']}" if known.version else "/versions",
        f"/releases/{known.rollout['id']}" if known.rollout else "/releases",
    )
    return links[index]


def _waiting(policy: Facts | None) -> int:
    return int((policy or {}).get("lessons_waiting") or 0)


def _rate(card: Facts, who: str) -> float | None:
    rate = card.get(who)
    return None if rate is None else float(rate["value"])
