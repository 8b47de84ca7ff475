"""Routes of feedback. A body is a superset of TensorZero's: `metric_name` with `value` is understood as well."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from charkha.core.errors import Invalid
from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.learn.feedback.domain import KEY_LIMIT, NAME_LIMIT, TEXT_LIMIT, Draft, Kind, inference_id
from charkha.learn.feedback.service import BATCH_LIMIT, Bucket, Feedback, FeedbackService, TrendPoint

_NO_NUL = r"^[^\x00]*$"  # PostgreSQL's text cannot hold it
_TENSORZERO_TEXTS: dict[str, Kind] = {"comment": "comment", "demonstration": "correction"}
MOST_INFERENCES = 100
InferenceName = Annotated[str, StringConstraints(max_length=100)]
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=KEY_LIMIT, description="Sent again under the same key, a request has no second effect."),
]


class FeedbackIn(BaseModel):
    """Feedback on one inference or one episode."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind | None = Field(None, description="What is said; may be left out where `metric_name` is sent.")
    inference_id: str | None = Field(
        None, max_length=100, description="The id of an answer: a UUID, or as the OpenAI API writes it."
    )
    episode_id: str | None = Field(None, max_length=NAME_LIMIT, description="Or the episode, as its requests named it.")
    value: StrictBool | float | str | None = Field(
        None, description="A score from 0 to 1, a thumb (true: up), or a metric's number."
    )
    text: str | None = Field(None, max_length=TEXT_LIMIT, description="A comment, or what the answer should have been.")
    name: str | None = Field(None, max_length=NAME_LIMIT, description="The metric's name.")
    other_inference_id: str | None = Field(
        None, max_length=100, description="The answer to which this one is preferred."
    )
    subject_id: str | None = Field(None, max_length=NAME_LIMIT, description="The person whom it concerns.")
    idempotency_key: str | None = Field(None, max_length=KEY_LIMIT, description="As the header Idempotency-Key.")
    metric_name: str | None = Field(
        None, max_length=NAME_LIMIT, description="TensorZero's form: a metric, `comment` or `demonstration`."
    )

    def draft(self, key: str | None = None) -> Draft:
        """The feedback as the domain takes it; `key` is the idempotency key where the body has none."""
        if self.idempotency_key and key and self.idempotency_key != key:
            raise Invalid(
                "The body and the header have different idempotency keys.",
                remedy="Send one of them.",
                param="idempotency_key",
            )
        kind, name, text, value = self._said()
        return Draft(
            kind=kind,
            inference_id=inference_id(self.inference_id) if self.inference_id else None,
            episode_id=self.episode_id,
            value=value,
            text=text,
            name=name,
            other_inference_id=(
                inference_id(self.other_inference_id, "other_inference_id") if self.other_inference_id else None
            ),
            subject_id=self.subject_id,
            idempotency_key=self.idempotency_key or key,
        )

    def _said(self) -> tuple[Kind, str | None, str | None, float | None]:
        """Kind, name, text and value, from either form."""
        if self.metric_name is None:
            if self.kind is None:
                raise Invalid("'kind' is missing.", param="kind", remedy="Send kind, or metric_name and value.")
            return self.kind, self.name, self.text, _number(self.value)
        if self.kind or self.name or self.text:
            raise Invalid("'metric_name' goes with 'value' alone.", param="metric_name", remedy="Choose one form.")
        if self.metric_name in _TENSORZERO_TEXTS:
            if not isinstance(self.value, str):
                raise Invalid(f"The value of a {self.metric_name} is text.", remedy="Send it as text.", param="value")
            return _TENSORZERO_TEXTS[self.metric_name], None, self.value, None
        return "metric", self.metric_name, None, _number(self.value)


class BatchIn(BaseModel):
    """Feedback to store all at once, or not at all."""

    model_config = ConfigDict(extra="forbid")
    items: list[FeedbackIn] = Field(min_length=1, max_length=BATCH_LIMIT)

    def drafts(self, key: str | None) -> list[Draft]:
        """The items in order. Under a key of the batch, an item without a key of its own gets one by its place."""
        return [
            item.draft(item.idempotency_key or (f"{key}#{place}" if key else None))
            for place, item in enumerate(self.items)
        ]


def router(feedback: FeedbackService, access: Access) -> Router:
    """The routes, bound to their service."""
    api = Router(tags=["learn"])

    @api.post("/feedback")
    async def give_feedback(
        body: FeedbackIn, idempotency_key: IdempotencyKey = None, caller: Caller = access.require("feedback.write")
    ) -> Feedback:
        """Give feedback on an answer or an episode; it may come before the answer is in the log, late, or twice."""
        async with caller.transaction() as tx:
            return await feedback.give(tx, body.draft(idempotency_key))

    @api.post("/feedback/batch")
    async def give_feedback_batch(
        body: BatchIn, idempotency_key: IdempotencyKey = None, caller: Caller = access.require("feedback.write")
    ) -> list[Feedback]:
        """Give up to 1,000 pieces of feedback, all or none."""
        async with caller.transaction() as tx:
            return await feedback.give_all(tx, body.drafts(idempotency_key))

    @api.get("/feedback")
    async def list_feedback(
        inferences: list[InferenceName] | None = Query(
            None, alias="inference_id", max_length=MOST_INFERENCES, description="On this answer; may be repeated."
        ),
        episode_id: str | None = Query(None, max_length=NAME_LIMIT, pattern=_NO_NUL),
        kind: Kind | None = None,
        since: AwareDatetime | None = Query(None, description="Not before this instant."),
        until: AwareDatetime | None = Query(None, description="Before this instant."),
        after: UUID | None = Query(None, description="`next` of the page before."),
        limit: int = Query(50, ge=1, le=500),
        caller: Caller = access.require("feedback.read"),
    ) -> Page[Feedback]:
        """The workspace's feedback, newest first. A page may be short, or empty, while `next` says where to go on."""
        about = [inference_id(each) for each in inferences] if inferences else None
        async with caller.transaction() as tx:
            return await feedback.listed(
                tx,
                inference_ids=about,
                episode_id=episode_id,
                kind=kind,
                since=since,
                until=until,
                after=after,
                limit=limit,
            )

    @api.get("/feedback/trend")
    async def feedback_trend(
        since: AwareDatetime | None = Query(None, description="Not before this instant; 14 days ago if absent."),
        until: AwareDatetime | None = Query(None, description="Before this instant; now if absent."),
        bucket: Bucket = "day",
        caller: Caller = access.require("feedback.read"),
    ) -> list[TrendPoint]:
        """How much feedback of each kind came in each hour or day (UTC), and the mean of its values."""
        async with caller.transaction() as tx:
            return await feedback.trend(tx, since=since, until=until, bucket=bucket)

    return api


def _number(value: bool | float | str | None) -> float | None:
    if isinstance(value, str):
        raise Invalid("'value' is a number, true or false.", param="value", remedy="Text goes into 'text'.")
    return None if value is None else float(value)
