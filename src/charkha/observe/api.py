"""Routes of the inference log."""

from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field

from charkha.core.clock import earlier, now
from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.observe.domain import inference_id
from charkha.observe.service import InferenceLog
from charkha.observe.values import Inference, InferenceDetail, VariantStats, Wanted

STATS_SPAN = timedelta(days=1)
_READ = "inference.read"
_NO_NUL = r"^[^\x00]*$"  # PostgreSQL's text cannot hold it


class InferenceQuery(BaseModel):
    """What a list of inferences is asked for."""

    endpoint_id: UUID | None = None
    variant_id: UUID | None = None
    version_id: UUID | None = None
    status: int | None = Field(None, ge=100, le=599, description="The HTTP status that was answered.")
    model: str | None = Field(None, max_length=300, pattern=_NO_NUL, description="`model` as the request named it.")
    error_code: str | None = Field(None, max_length=100, pattern=_NO_NUL)
    purpose: str | None = Field(None, max_length=50, pattern=_NO_NUL, description="live, evaluation, …")
    episode_id: str | None = Field(None, max_length=200, pattern=_NO_NUL)
    subject_id: str | None = Field(None, max_length=200, pattern=_NO_NUL, description="The person whom it concerns.")
    cache: Literal["hit", "semantic", "miss"] | None = Field(None, description="What the endpoint's cache had.")
    failed: bool | None = Field(None, description="Whether what answered is to blame: 5xx, or a process that died.")
    min_duration_ms: float | None = Field(None, ge=0, allow_inf_nan=False, description="As slow as this, or slower.")
    since: AwareDatetime | None = Field(None, description="Not before this instant.")
    until: AwareDatetime | None = Field(None, description="Before this instant.")
    q: str | None = Field(
        None, min_length=1, max_length=200, pattern=_NO_NUL, description="A text in the kept request or answer."
    )
    after: UUID | None = Field(None, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=500)

    def wanted(self) -> Wanted:
        """The query as the log takes it."""
        return Wanted(**self.model_dump(exclude={"after", "limit"}))


def router(inferences: InferenceLog, access: Access) -> Router:
    """The routes, bound to their service."""
    api = Router(tags=["observe"])

    @api.get("/inferences")
    async def list_inferences(
        asked: Annotated[InferenceQuery, Query()], caller: Caller = access.require(_READ)
    ) -> Page[Inference]:
        """The workspace's inferences, newest first. A page may be short, or empty, while `next` says where to go on."""
        async with caller.transaction() as tx:
            return await inferences.listed(tx, asked.wanted(), after=asked.after, limit=asked.limit)

    @api.get("/inferences/stats")
    async def inference_stats(
        endpoint_id: UUID | None = None,
        since: AwareDatetime | None = Query(None, description="Not before this instant; a day ago if absent."),
        until: AwareDatetime | None = Query(None, description="Before this instant."),
        newest: int | None = Query(None, ge=1, le=1_000_000, description="Only of so many requests, the newest."),
        caller: Caller = access.require(_READ),
    ) -> list[VariantStats]:
        """Requests, errors, latency and tokens of each variant."""
        first = since or earlier(until or now(), STATS_SPAN)
        async with caller.transaction() as tx:
            return await inferences.stats(tx, endpoint_id=endpoint_id, since=first, until=until, newest=newest)

    @api.get("/inferences/{inference}")
    async def get_inference(inference: str, caller: Caller = access.require(_READ)) -> InferenceDetail:
        """One inference with what was asked and answered; by its UUID or the id that its answer had."""
        async with caller.transaction() as tx:
            return await inferences.get(tx, inference_id(inference))

    return api
