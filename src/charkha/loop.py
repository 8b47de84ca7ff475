"""THE WHEEL: which station hears of what. The only file that joins stations at run time.

    traffic ─▶ feedback ─▶ data set ─▶ run ─▶ version ─▶ scorecard ─▶ rollout ─▶ traffic

Each line is an event and who acts on it, in a transaction of its own, once. What a station needs of another while it
acts is a port, bound in `app/wiring.py`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from charkha.core.events import CandidateTrained, FeedbackGathered, ScorecardReady, VersionRegistered
from charkha.kit.db import Tx
from charkha.kit.eventlog import EventLog


@dataclass(frozen=True)
class Wheel:
    """What the stations do when something has happened."""

    consider_training: Callable[[Tx, FeedbackGathered], Awaitable[None]]
    register_version: Callable[[Tx, CandidateTrained], Awaitable[None]]
    score: Callable[[Tx, VersionRegistered], Awaitable[None]]
    decide_release: Callable[[Tx, ScorecardReady], Awaitable[None]]


def join(events: EventLog, wheel: Wheel) -> None:
    """Subscribe every station to what it acts on."""
    events.on(FeedbackGathered, wheel.consider_training, coalesce=True)
    events.on(CandidateTrained, wheel.register_version)
    events.on(VersionRegistered, wheel.score)
    events.on(ScorecardReady, wheel.decide_release)
