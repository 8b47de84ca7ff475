"""The events by which stations meet. Small, frozen, carrying ids; written in the transaction of the change they tell of."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that has happened in one workspace. `topic` is stable: it stands in stored rows and queued jobs."""

    topic: ClassVar[str]
    registry: ClassVar[dict[str, type["Event"]]] = {}

    def __init_subclass__(cls) -> None:
        Event.registry[cls.topic] = cls


@dataclass(frozen=True, kw_only=True)
class FeedbackGathered(Event):
    """Feedback was stored."""

    topic = "feedback.gathered"
    feedback_id: UUID
    inference_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class RunRequested(Event):
    """A training run was queued, by policy or by a person."""

    topic = "run.requested"
    run_id: UUID


@dataclass(frozen=True, kw_only=True)
class CandidateTrained(Event):
    """A run succeeded and its artefact is stored."""

    topic = "candidate.trained"
    run_id: UUID
    endpoint_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class VersionRegistered(Event):
    """A candidate has its place in the registry and can be called by name."""

    topic = "version.registered"
    version_id: UUID
    endpoint_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class ScorecardReady(Event):
    """An evaluation compared a candidate with the incumbent."""

    topic = "scorecard.ready"
    evaluation_id: UUID
    candidate_version_id: UUID
    endpoint_id: UUID


@dataclass(frozen=True, kw_only=True)
class RolloutAdvanced(Event):
    """A rollout began, took a step, was finished or was rolled back; the live plan moved with it."""

    topic = "rollout.advanced"
    rollout_id: UUID
    endpoint_id: UUID
    status: str
    share: int


@dataclass(frozen=True, kw_only=True)
class PlanMoved(Event):
    """An endpoint's live plan was replaced."""

    topic = "plan.moved"
    endpoint_id: UUID
    plan_id: UUID
