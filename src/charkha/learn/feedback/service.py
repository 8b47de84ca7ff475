"""Giving feedback, and what other parts learn from it: lessons for training, scores for rollouts."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
import sqlalchemy as sa

from charkha.core.clock import earlier, in_utc, now
from charkha.core.errors import Conflict, Invalid
from charkha.core.events import FeedbackGathered
from charkha.core.ids import id_range, minted_by, uuid7
from charkha.govern import audit
from charkha.kit.crashpoints import crashpoint
from charkha.kit.crypto import Secrets
from charkha.kit.db import Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.paging import Page
from charkha.learn.feedback import domain, store
from charkha.learn.feedback.domain import SCORING, TEACHING, Draft, Kind, Lesson, Score

BATCH_LIMIT = 1_000
LESSONS_LIMIT, TEACHING_LIMIT = 100_000, 10_000
TREND_SPAN, TREND_LIMIT = timedelta(days=14), 1_000
Bucket = Literal["hour", "day"]
_WIDTHS: dict[Bucket, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


class Feedback(msgspec.Struct, frozen=True):
    """One piece of feedback."""

    id: UUID
    kind: str
    inference_id: UUID | None
    episode_id: str | None
    value: float | None
    text: str | None
    name: str | None
    other_inference_id: UUID | None
    subject_id: str | None
    actor: str
    idempotency_key: str | None
    created_at: datetime


class TrendPoint(msgspec.Struct, frozen=True):
    """How much feedback of a kind came in the hour or day that begins `at`.

    `mean` is of its values: None for kinds without one, and for metrics, whose numbers measure different things.
    """

    at: datetime
    kind: str
    count: int
    mean: float | None


class FeedbackService:
    """The feedback of the transaction's workspace."""

    def __init__(self, events: EventLog, secrets: Secrets) -> None:
        self._events, self._secrets = events, secrets

    async def give(self, tx: Tx, draft: Draft) -> Feedback:
        """Store one piece of feedback; the same again under its idempotency key is the same piece.

        Raises Invalid, NotFound for an inference that this workspace did not answer, Conflict for another body under
        a key that was used.
        """
        return (await self.give_all(tx, [draft]))[0]

    async def give_all(self, tx: Tx, drafts: Sequence[Draft]) -> list[Feedback]:
        """Store up to 1,000 pieces, all or none, and answer in their order. One event tells of all that are new."""
        if not 1 <= len(drafts) <= BATCH_LIMIT:
            raise Invalid(
                f"A batch has 1 to {BATCH_LIMIT:,} items, not {len(drafts):,}.",
                remedy="Send several batches.",
                param="items",
            )
        self._check(tx, drafts)
        ids = sorted(uuid7() for _ in drafts)  # in one millisecond, too, the later item has the later id
        rows = [_row(draft, tx.actor, new_id) for draft, new_id in zip(drafts, ids, strict=True)]
        new = {row.id: row for row in await store.insert_new(tx, rows)}
        before = await store.by_key(tx, {row["idempotency_key"] for row in rows if row["id"] not in new})
        stored = [new.get(row["id"]) or before[row["idempotency_key"]] for row in rows]
        for row, found in zip(rows, stored, strict=True):
            _refuse_other(row, found)
        if new:
            await self._tell(tx, list(new.values()))
        crashpoint("feedback.before_commit")
        return [_feedback(row) for row in stored]

    async def listed(
        self,
        tx: Tx,
        *,
        inference_ids: Sequence[UUID] | None = None,
        episode_id: str | None = None,
        kind: Kind | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[Feedback]:
        """The workspace's feedback, newest first, that matches everything given: on any of `inference_ids`, if given."""
        about = None if inference_ids is None else list(inference_ids)
        equal = {"inference_id": about, "episode_id": episode_id, "kind": kind}
        given = {name: value for name, value in equal.items() if value is not None}
        return await store.listed(tx, id_range(since, until), given, _feedback, after=after, limit=limit)

    async def trend(
        self, tx: Tx, *, since: datetime | None = None, until: datetime | None = None, bucket: Bucket = "day"
    ) -> list[TrendPoint]:
        """How much feedback of each kind came in each hour or day (UTC) of [since, until), and what it says on average.

        The last 14 days, today among them, unless `since` is given. Raises Invalid for more than 1,000 buckets.
        """
        until = in_utc(until or now())
        day = earlier(until, TREND_SPAN - _WIDTHS["day"]).replace(hour=0, minute=0, second=0, microsecond=0)
        since = in_utc(since) if since else day
        if (until - since) / _WIDTHS[bucket] > TREND_LIMIT:
            raise Invalid(
                f"From 'since' to 'until' there are more than {TREND_LIMIT:,} {bucket}s.",
                param="since",
                remedy="Ask for a shorter time" + (", or for days." if bucket == "hour" else "."),
            )
        return [TrendPoint(**row._mapping) for row in await store.trend(tx, since, until, _WIDTHS[bucket])]

    async def ids_on(self, tx: Tx, inference_id: UUID, *, limit: int) -> list[UUID]:
        """The feedback on an inference, newest first."""
        return await store.ids_on(tx, inference_id, limit)

    async def inference_of(self, tx: Tx, feedback_id: UUID) -> UUID | None:
        """The inference that a piece of feedback is on; None for feedback on an episode, or that is not there."""
        return await store.inference_of(tx, feedback_id)

    async def lessons(self, tx: Tx, *, after: UUID | None = None, limit: int = LESSONS_LIMIT) -> list[Lesson]:
        """One lesson for each inference that feedback teaches something about, by the id of the feedback that decides.

        With `after`, only those decided by later feedback. Of more than `limit` inferences, those with the latest
        feedback. What is committed after a later id was read is missed by `after`: use it to count, not to collect.
        """
        signals = await store.newest_signals(tx, TEACHING, after=after, limit=limit)
        lessons = [domain.lesson(inference, given) for inference, given in signals.items()]
        found = [each for each in lessons if each and (after is None or each.feedback_id > after)]
        return sorted(found, key=lambda lesson: lesson.feedback_id)

    async def teaching(self, tx: Tx, *, after: UUID | None = None, limit: int = TEACHING_LIMIT) -> list[UUID]:
        """The inferences that `lessons` would have a lesson about: cheap to count, for no text is read.

        Of more than `limit` pieces of feedback that could teach, those of the last ones.
        """
        return await store.teaching(tx, after=after, limit=limit)

    async def judged(self, tx: Tx, inference_ids: Collection[UUID]) -> dict[UUID, Score]:
        """The score of each inference that has one, with the feedback that decided it: its id tells when."""
        signals = await store.signals(tx, inference_ids, SCORING)
        scores = {inference: domain.score(given) for inference, given in signals.items()}
        return {inference: score for inference, score in scores.items() if score}

    async def scores(self, tx: Tx, inference_ids: Collection[UUID]) -> dict[UUID, float]:
        """The score in [0, 1] of each inference that has one."""
        return {inference: score.value for inference, score in (await self.judged(tx, inference_ids)).items()}

    def _check(self, tx: Tx, drafts: Sequence[Draft]) -> None:
        """Ids are minted by the gateway: one that is foreign or invented is told without reading anything."""
        key = self._secrets.derive("inference-id", tx.workspace_id)
        for draft in drafts:
            domain.check(draft)
            for param in ("inference_id", "other_inference_id"):
                value = getattr(draft, param)
                if value is not None and not minted_by(value, key):
                    raise domain.no_such_inference(value, param)

    async def _tell(self, tx: Tx, new: Sequence[sa.Row[Any]]) -> None:
        last = max(new, key=lambda row: row.id)
        await audit.record(tx, "feedback.given", "feedback", last.id, count=len(new))
        only = last.inference_id if len(new) == 1 else None
        await self._events.emit(tx, FeedbackGathered(feedback_id=last.id, inference_id=only))


def _refuse_other(row: dict[str, Any], stored: sa.Row[Any]) -> None:
    """Under one key there is one body."""
    if bytes(stored.body_hash) != row["body_hash"]:
        raise Conflict(
            f"The idempotency key '{stored.idempotency_key}' was used for other feedback.",
            param="idempotency_key",
            remedy="Use a new key for new feedback; repeat the first body to repeat the first answer.",
        )


def _row(draft: Draft, actor: str, new_id: UUID) -> dict[str, Any]:
    return {**msgspec.structs.asdict(draft), "id": new_id, "actor": actor, "body_hash": domain.body_hash(draft)}


def _feedback(row: sa.Row[Any]) -> Feedback:
    return Feedback(**{name: row._mapping[name] for name in Feedback.__struct_fields__})
