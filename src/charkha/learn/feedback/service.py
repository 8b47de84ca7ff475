"""Giving feedback, and what other parts learn from it: lessons for training, scores for rollouts."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from charkha.core.errors import Conflict, Invalid
from charkha.core.events import FeedbackGathered
from charkha.core.ids import minted_by, uuid7
from charkha.govern import audit
from charkha.kit.crashpoints import crashpoint
from charkha.kit.crypto import Secrets
from charkha.kit.db import Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.paging import Page, page
from charkha.learn.feedback import domain, store
from charkha.learn.feedback.domain import SCORING, TEACHING, Draft, Kind, Lesson, Score
from charkha.learn.tables import feedback

BATCH_LIMIT = 1_000
LESSONS_LIMIT = 100_000


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
        inference_id: UUID | None = None,
        episode_id: str | None = None,
        kind: Kind | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[Feedback]:
        """The workspace's feedback, newest first, that matches everything given."""
        query = sa.select(feedback).where(feedback.c.workspace_id == tx.workspace_id)
        for name, value in (("inference_id", inference_id), ("episode_id", episode_id), ("kind", kind)):
            if value is not None:
                query = query.where(feedback.c[name] == value)
        return await page(tx, query, feedback, _feedback, after=after, limit=limit)

    async def lessons(self, tx: Tx, *, after: UUID | None = None, limit: int = LESSONS_LIMIT) -> list[Lesson]:
        """One lesson for each inference that feedback teaches something about, by the id of the feedback that decides.

        With `after`, only those decided by later feedback. Of more than `limit` inferences, those with the latest
        feedback. What is committed after a later id was read is missed by `after`: use it to count, not to collect.
        """
        signals = await store.newest_signals(tx, TEACHING, after=after, limit=limit)
        lessons = [domain.lesson(inference, given) for inference, given in signals.items()]
        found = [each for each in lessons if each and (after is None or each.feedback_id > after)]
        return sorted(found, key=lambda lesson: lesson.feedback_id)

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
