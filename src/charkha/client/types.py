"""What Charkha answers, as typed values. Fields that a newer server adds are ignored."""

from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from charkha.client.caching import CachePolicy

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, newest first. `next` is the `after` of the following page, or None."""

    data: list[T]
    next: UUID | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a model answered, and the id by which feedback refers to it."""

    text: str
    inference_id: UUID
    variant: str | None = None


class Key(msgspec.Struct, frozen=True):
    """An API key without its secret."""

    id: UUID
    name: str
    hint: str
    role: str
    created_at: datetime
    scopes: list[str] | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class NewKey(msgspec.Struct, frozen=True):
    """A key that was just made; `key` is shown this once."""

    id: UUID
    key: str
    name: str
    role: str
    workspace_id: UUID


class SignInLink(msgspec.Struct, frozen=True):
    """A link that signs a browser in to the console, once; `path` goes behind the server's address."""

    token: str
    expires_at: datetime
    path: str


class Session(msgspec.Struct, frozen=True):
    """A browser that is or was signed in to the console as a key."""

    id: UUID
    key_id: UUID
    key_name: str
    key_hint: str
    user_agent: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


class Workspace(msgspec.Struct, frozen=True):
    """A workspace of the organisation."""

    id: UUID
    name: str


class AuditRow(msgspec.Struct, frozen=True):
    """One action: who did what to what."""

    id: UUID
    at: datetime
    actor: str
    action: str
    target_kind: str
    target_id: str
    detail: dict[str, Any]


class Share(msgspec.Struct, frozen=True):
    """A variant and its percent of the traffic."""

    variant_id: UUID
    share: int


class Variant(msgspec.Struct, frozen=True):
    """One way in which an endpoint answers; `adapters` are `{"digest", "weight", "version_id"}`, `alternatives` other ways,
    `prompt` is a version of a prompt, as `name@number`."""

    id: UUID
    name: str
    engine: str
    model: str
    version_id: UUID | None
    adapters: list[dict[str, Any]]
    system_prompt: str | None
    parameters: dict[str, Any]
    prompt: str | None = None
    prompt_version_id: UUID | None = None
    alternatives: list[dict[str, Any]] = []
    routing: dict[str, Any] = {}


class Plan(msgspec.Struct, frozen=True):
    """How an endpoint's traffic is shared; immutable."""

    id: UUID
    endpoint_id: UUID
    number: int
    shares: list[Share]
    reason: str
    actor: str
    previous_id: UUID | None
    created_at: datetime | None


class Endpoint(msgspec.Struct, frozen=True):
    """A name that applications call. Lists leave `plan` and `variants` out."""

    id: UUID
    name: str
    labels: list[str] | None
    keeps_content: bool
    live_plan_id: UUID
    created_at: datetime
    plan: Plan | None = None
    variants: list[Variant] = []
    cache: CachePolicy | None = None


class Inference(msgspec.Struct, frozen=True):
    """One request, as the log keeps it. Durations are milliseconds."""

    id: UUID
    started_at: datetime
    operation: str
    model: str
    purpose: str
    endpoint_id: UUID | None
    plan_id: UUID | None
    variant_id: UUID | None
    version_id: UUID | None
    engine: str
    adapters: list[Any]
    status: int
    error_code: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    first_token_ms: float | None
    duration_ms: float | None
    episode_id: str | None = None
    subject_id: str | None = None
    cost: int | None = None
    currency: str | None = None
    prompt_version_id: UUID | None = None
    degraded: str | None = None
    engine_model: str | None = None
    tries: int | None = None
    cache: str | None = None
    saved: int | None = None


class InferenceDetail(Inference, frozen=True, kw_only=True):
    """One request with its body, where that was `kept`."""

    kept: bool
    prompt: list[dict[str, Any]] = []
    request: Any = None
    answer: str | None = None


class Feedback(msgspec.Struct, frozen=True):
    """What somebody thinks of an answer."""

    id: UUID
    kind: str
    created_at: datetime
    inference_id: UUID | None = None
    episode_id: str | None = None
    name: str | None = None
    value: float | None = None
    text: str | None = None


class Dataset(msgspec.Struct, frozen=True):
    """A data set: a name for its versions. `newest_version_id`, `examples` and `updated_at` are of the newest."""

    id: UUID
    name: str
    versions: int
    created_at: datetime
    newest_version_id: UUID | None = None
    examples: int | None = None
    updated_at: datetime | None = None


class DatasetVersion(msgspec.Struct, frozen=True):
    """An immutable set of examples; `digest` is the SHA-256 of its canonical form."""

    id: UUID
    dataset_id: UUID
    name: str
    number: int
    digest: str
    examples: int
    labels: list[str] | None
    report: dict[str, Any]
    created_at: datetime


class Policy(msgspec.Struct, frozen=True):
    """When an endpoint's next version is trained by itself. `lessons_waiting` is told where one policy is asked for."""

    endpoint_id: UUID
    enabled: bool
    minimum_examples: int
    recipe: str
    config: dict[str, Any]
    lessons_waiting: int | None = None


class Run(msgspec.Struct, frozen=True):
    """A training run and how far it is. `status`: queued, running, succeeded, failed or cancelled."""

    id: UUID
    endpoint_id: UUID | None
    recipe: str
    config: dict[str, Any]
    dataset_version_id: UUID
    base_model: str
    seed: int
    status: str
    attempt: int
    step: int
    steps: int | None
    seconds_left: float | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    result: dict[str, Any] | None = None
    loss: float | None = None


class Point(msgspec.Struct, frozen=True):
    """A point of a run's curve."""

    step: int
    loss: float
    learning_rate: float | None = None
    tokens_per_second: float | None = None


class Suite(msgspec.Struct, frozen=True):
    """What an endpoint's versions are measured on."""

    id: UUID
    name: str
    endpoint_id: UUID
    dataset_version_id: UUID
    created_at: datetime


class Evaluation(msgspec.Struct, frozen=True):
    """A version measured on a suite, and compared where an incumbent is named."""

    id: UUID
    suite_id: UUID
    candidate_version_id: UUID
    incumbent_version_id: UUID | None
    status: str
    done: int
    total: int | None
    scorecard: dict[str, Any] | None
    error: str | None
    created_at: datetime


class Version(msgspec.Struct, frozen=True):
    """A version in the registry; `kind` is base or adapter."""

    id: UUID
    name: str
    number: int
    kind: str
    engine: str
    base_model: str
    base_hash: str | None
    endpoint_id: UUID | None
    run_id: UUID | None
    dataset_version_id: UUID | None
    artefacts: dict[str, Any]
    detail: dict[str, Any]
    created_at: datetime


class AdapterState(msgspec.Struct, frozen=True):
    """An adapter, the size of its file, and whether each engine holds it: warm or cold."""

    version: Version
    engines: dict[str, str]
    bytes: int | None = None


class Rollout(msgspec.Struct, frozen=True):
    """How a version takes over. `status`: running, promoted, rolled_back, superseded …"""

    id: UUID
    endpoint_id: UUID
    candidate: str
    candidate_version_id: UUID
    plan_id: UUID
    steps: list[int]
    share: int
    status: str
    judgement: dict[str, Any] | None
    reason: str | None
    started_at: datetime
    ended_at: datetime | None


class Decision(msgspec.Struct, frozen=True):
    """One decision of a rollout, with its evidence."""

    id: UUID
    at: datetime
    action: str
    share: int
    verdict: str
    reason: str
    evidence: dict[str, Any]


class Release(msgspec.Struct, frozen=True):
    """A rollout with every decision that was taken."""

    rollout: Rollout
    decisions: list[Decision]


class Rollback(msgspec.Struct, frozen=True):
    """A rollback, which gateways serve it, and how long that took in milliseconds."""

    rollback: dict[str, Any]
    gateways: list[dict[str, Any]]
    milliseconds: float
