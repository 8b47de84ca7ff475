"""Routes of training policies."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.learn.policies.domain import Policy
from charkha.learn.policies.service import PolicyService


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

    @api.get("/training-policies/{endpoint_id}")
    async def get_policy(endpoint_id: UUID, caller: Caller = access.require("run.read")) -> Policy:
        """The policy of an endpoint."""
        async with caller.transaction() as tx:
            return await policies.get(tx, endpoint_id)

    return api
