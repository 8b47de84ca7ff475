"""Routes of the inference log."""

from datetime import datetime, timedelta
from uuid import UUID

from fastapi import Query
from pydantic import AwareDatetime

from charkha.core.clock import now
from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.observe.domain import inference_id
from charkha.observe.service import InferenceLog
from charkha.observe.values import Inference, InferenceDetail, VariantStats

STATS_SPAN = timedelta(days=1)
_READ = "inference.read"
_NO_NUL = r"^[^\x00]*$"  # PostgreSQL's text cannot hold it


def router(inferences: InferenceLog, access: Access) -> Router:
    """The routes, bound to their service."""
    api = Router(tags=["observe"])

    @api.get("/inferences")
    async def list_inferences(
        endpoint_id: UUID | None = None,
        variant_id: UUID | None = None,
        version_id: UUID | None = None,
        status: int | None = Query(None, ge=100, le=599, description="The HTTP status that was answered."),
        purpose: str | None = Query(None, max_length=50, pattern=_NO_NUL, description="live, evaluation, …"),
        episode_id: str | None = Query(None, max_length=200, pattern=_NO_NUL),
        since: AwareDatetime | None = Query(None, description="Not before this instant."),
        until: AwareDatetime | None = Query(None, description="Before this instant."),
        after: UUID | None = Query(None, description="`next` of the page before."),
        limit: int = Query(50, ge=1, le=500),
        caller: Caller = access.require(_READ),
    ) -> Page[Inference]:
        """The workspace's inferences, newest first."""
        async with caller.transaction() as tx:
            return await inferences.listed(
                tx,
                endpoint_id=endpoint_id,
                variant_id=variant_id,
                version_id=version_id,
                status=status,
                purpose=purpose,
                episode_id=episode_id,
                since=since,
                until=until,
                after=after,
                limit=limit,
            )

    @api.get("/inferences/stats")
    async def inference_stats(
        endpoint_id: UUID | None = None,
        since: AwareDatetime | None = Query(None, description="Not before this instant; a day ago if absent."),
        until: AwareDatetime | None = Query(None, description="Before this instant."),
        caller: Caller = access.require(_READ),
    ) -> list[VariantStats]:
        """Requests, errors, latency and tokens of each variant."""
        first: datetime = since or (until or now()) - STATS_SPAN
        async with caller.transaction() as tx:
            return await inferences.stats(tx, endpoint_id=endpoint_id, since=first, until=until)

    @api.get("/inferences/{inference}")
    async def get_inference(inference: str, caller: Caller = access.require(_READ)) -> InferenceDetail:
        """One inference with what was asked and answered; by its UUID or the id that its answer had."""
        async with caller.transaction() as tx:
            return await inferences.get(tx, inference_id(inference))

    return api
