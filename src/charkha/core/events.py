"""The events by which stations meet. Small, frozen, carrying ids; written in the transaction of the change they tell of."""

from typing import ClassVar
from uuid import UUID

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has happened in one workspace. `topic` is stable: it stands in stored rows and queued jobs."""

    topic: ClassVar[str]
    registry: ClassVar[dict[str, "type[Event]"]] = {}

    def __init_subclass__(cls, topic: str = "", **options: object) -> None:
        super().__init_subclass__(**options)
        if topic:
            cls.topic = topic
            Event.registry[topic] = cls


class FeedbackGathered(Event, frozen=True, kw_only=True, topic="feedback.gathered"):
    """Feedback was stored."""

    feedback_id: UUID
    inference_id: UUID | None = None


class RunRequested(Event, frozen=True, kw_only=True, topic="run.requested"):
    """A training run was queued, by policy or by a person."""

    run_id: UUID


class CandidateTrained(Event, frozen=True, kw_only=True, topic="candidate.trained"):
    """A run succeeded and its artefact is stored."""

    run_id: UUID
    endpoint_id: UUID | None = None


class VersionRegistered(Event, frozen=True, kw_only=True, topic="version.registered"):
    """A candidate has its place in the registry and can be called by name."""

    version_id: UUID
    endpoint_id: UUID | None = None


class ScorecardReady(Event, frozen=True, kw_only=True, topic="scorecard.ready"):
    """An evaluation compared a candidate with the incumbent."""

    evaluation_id: UUID
    candidate_version_id: UUID
    endpoint_id: UUID


class RolloutAdvanced(Event, frozen=True, kw_only=True, topic="rollout.advanced"):
    """A rollout began, took a step, was finished or was rolled back; the live plan moved with it."""

    rollout_id: UUID
    endpoint_id: UUID
    status: str
    share: int


class PlanMoved(Event, frozen=True, kw_only=True, topic="plan.moved"):
    """An endpoint's live plan was replaced."""

    endpoint_id: UUID
    plan_id: UUID
