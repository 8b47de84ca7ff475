"""What the inference log answers with."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.messages import Message


class Inference(msgspec.Struct, frozen=True):
    """One request and how it ended. Times in milliseconds; `adapters` are pairs of id and weight.

    `cost` is in micro-units of `currency`; both are None where the model had no price. `engine_model` answered where it
    was another way than the variant's own, and `degraded` says why; `tries`: how often engines were asked.
    `cache` is what the endpoint's cache had: `hit`, `semantic` or `miss`, None where nobody looked; `saved` is the cost that
    a hit did not have.
    """

    id: UUID
    started_at: datetime
    operation: str
    model: str
    purpose: str
    actor: str
    endpoint_id: UUID | None
    plan_id: UUID | None
    variant_id: UUID | None
    version_id: UUID | None
    engine: str
    adapters: list[Any]
    stream: bool
    episode_id: str | None
    subject_id: str | None
    trace_id: str | None
    status: int
    error_code: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    first_token_ms: float | None
    duration_ms: float | None
    degraded: str | None
    cost: int | None
    currency: str | None
    engine_model: str | None
    tries: int | None
    prompt_version_id: UUID | None
    cache: str | None
    saved: int | None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which inferences a list shall have: those that match everything given.

    [since, until) is a range of time. `failed`: whether what answered is to blame. `q` stands somewhere in what was
    asked or answered, as far as that is kept; its ASCII letters match in either case.
    """

    endpoint_id: UUID | None = None
    variant_id: UUID | None = None
    version_id: UUID | None = None
    status: int | None = None
    model: str | None = None
    error_code: str | None = None
    purpose: str | None = None
    episode_id: str | None = None
    subject_id: str | None = None
    cache: str | None = None
    failed: bool | None = None
    min_duration_ms: float | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None


class InferenceDetail(Inference, frozen=True):
    """An inference with what was asked and answered: all empty where its endpoint keeps no content."""

    kept: bool
    prompt: tuple[Message, ...]
    request: Any
    answer: str | None


class InferenceContent(msgspec.Struct, frozen=True):
    """What one inference was about: the conversation that the model saw, and its answer; empty where none is kept."""

    id: UUID
    endpoint_id: UUID | None
    variant_id: UUID | None
    version_id: UUID | None
    prompt: tuple[Message, ...]
    answer: str
    subject_id: str | None


class Observed(msgspec.Struct, frozen=True):
    """One inference as a rollout judges it. `error`: what answered is to blame."""

    inference_id: UUID
    variant_id: UUID
    status: int
    duration_ms: float | None
    error: bool


class VariantStats(msgspec.Struct, frozen=True):
    """What one variant did in a range of time. Latencies in milliseconds, of the requests that succeeded."""

    endpoint_id: UUID | None
    variant_id: UUID | None
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    prompt_tokens: int
    completion_tokens: int
