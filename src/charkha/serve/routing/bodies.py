"""What a request to make a variant says of its ways."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from charkha.serve.routing.domain import MAX_CONTEXT, MAX_HEDGE_MS, MAX_RETRIES, MAX_SECONDS, MAX_TASKS, Strategy

_CONTEXT = "Tokens that it reads and writes at most; longer requests go elsewhere."
_TASKS = "Tasks that it is kept for, as requests declare them in x-charkha-task; none: whatever comes."


class AlternativeIn(BaseModel):
    """Another way to answer: a model on an engine, without adapters."""

    model_config = ConfigDict(extra="forbid")

    engine: str = Field(max_length=100, description="An engine of this installation.")
    model: str = Field(min_length=1, max_length=300, description="A model of that engine.")
    parameters: dict[str, Any] = Field({}, description="Defaults such as temperature or max_tokens.")
    context_tokens: int | None = Field(None, ge=1, le=MAX_CONTEXT, description=_CONTEXT)
    tasks: list[str] = Field([], max_length=MAX_TASKS, description=_TASKS)


class RoutingIn(BaseModel):
    """How a variant chooses among its ways, and how long it waits for each."""

    model_config = ConfigDict(extra="forbid")

    order: Strategy = Field("listed", description="As listed, the cheapest, the fastest or the least busy first.")
    hedge_ms: int | None = Field(
        None, ge=1, le=MAX_HEDGE_MS, description="Milliseconds without a first byte, after which a second way is asked."
    )
    retries: int = Field(1, ge=0, le=MAX_RETRIES, description="How often one way is asked again.")
    request_seconds: float | None = Field(None, ge=0.1, le=MAX_SECONDS, description="For the whole answer.")
    first_token_seconds: float | None = Field(
        None, ge=0.1, le=MAX_SECONDS, description="For each way's first byte, after which the next one is asked."
    )
    context_tokens: int | None = Field(None, ge=1, le=MAX_CONTEXT, description="Of the variant's own way. " + _CONTEXT)
    tasks: list[str] = Field([], max_length=MAX_TASKS, description="Of the variant's own way. " + _TASKS)
