"""Routes of training policies."""

from typing import Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.learn.policies.domain import Outlook, Policy
from charkha.learn.policies.service import PolicyService

MOST_ENDPOINTS = 500


class PolicyIn(BaseModel):
    """When and how to train."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(True, description="Whether training starts by itself.")
    minimum_examples: int = Field(ge=1, le=1_000_000, description="New lessons since the last run that start the next.")
    recipe: str = Field("sft", max_length=100, description="How to learn.")
    config: dict[str, Any] = Field(default_factory=dict, description="The recipe's configuration; defaults are good.")


def router(policies: PolicyService, access: Access) -> Router:
    """The routes, bound to their service."""
    api = Router(tags=["training policies"])

    @api.put("/training-policies/{endpoint_id}")
    async def set_policy(endpoint_id: UUID, body: PolicyIn, caller: Caller = access.require("run.write")) -> Policy:
        """Set when an endpoint's next candidate is trained."""
        async with caller.transaction() as tx:
            return await policies.put(tx, endpoint_id, **body.model_dump())

    @api.get("/training-policies")
    async def list_policies(
        endpoint_ids: list[UUID] | None = Query(
            None, alias="endpoint_id", max_length=MOST_ENDPOINTS, description="Of this endpoint; may be repeated."
        ),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("run.read"),
    ) -> Page[Policy]:
        """The workspace's policies, those of the newest endpoints first."""
        async with caller.transaction() as tx:
            return await policies.listed(tx, endpoint_ids=endpoint_ids, after=after, limit=limit)

    @api.get("/training-policies/{endpoint_id}")
    async def get_policy(endpoint_id: UUID, caller: Caller = access.require("run.read")) -> Outlook:
        """The policy of an endpoint, and how many new lessons wait for the next training."""
        async with caller.transaction() as tx:
            return await policies.outlook(tx, endpoint_id)

    return api
