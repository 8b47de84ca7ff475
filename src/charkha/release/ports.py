"""What the release station needs of others. Providers satisfy these by shape; `app/wiring.py` binds them.

Ids are of the transaction's workspace; a provider raises NotFound for any other. Values are protocols where a provider
has such a value of its own, and small structs where wiring has to put one together.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

import msgspec

from charkha.kit.db import Tx

Verdict = Literal["better", "worse", "not enough data"]
Adapter = tuple[str, float]
"""The sha256 of a GGUF adapter file (64 hex digits) and the weight that it is blended with."""


class RunResult(Protocol):
    """What a succeeded run left. Blobs are addresses in `kit.blobs`; `gguf_sha256` is the plain hash of the file."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def endpoint_id(self) -> UUID | None: ...
    @property
    def endpoint_name(self) -> str: ...
    @property
    def dataset_version_id(self) -> UUID: ...
    @property
    def engine(self) -> str: ...
    @property
    def base_model(self) -> str: ...
    @property
    def base_hash(self) -> str: ...
    @property
    def gguf_blob(self) -> str: ...
    @property
    def gguf_sha256(self) -> str: ...
    @property
    def safetensors_blob(self) -> str: ...
    @property
    def config_blob(self) -> str: ...
    @property
    def record(self) -> dict[str, Any]: ...
    @property
    def metrics(self) -> dict[str, Any]: ...
    @property
    def system_prompt(self) -> str | None: ...


class Runs(Protocol):
    """Training runs, as learn keeps them."""

    async def result(self, tx: Tx, run_id: UUID) -> RunResult:
        """The result of a succeeded run. Raises NotFound, or Conflict for a run that has none."""
        ...


class Share(msgspec.Struct, frozen=True):
    """A variant and its percent of an endpoint's traffic."""

    variant_id: UUID
    share: int


class ShareLike(Protocol):
    """A variant and its percent, as a provider holds them."""

    @property
    def variant_id(self) -> UUID: ...
    @property
    def share(self) -> int: ...


class LivePlan(Protocol):
    """How an endpoint's traffic is split now."""

    @property
    def id(self) -> UUID: ...
    @property
    def shares(self) -> Sequence[ShareLike]: ...


class Variant(Protocol):
    """One way in which an endpoint answers."""

    @property
    def id(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def version_id(self) -> UUID | None: ...


class Plans(Protocol):
    """Endpoints' plans and variants, as serve keeps them."""

    async def live(self, tx: Tx, endpoint_id: UUID) -> LivePlan:
        """The endpoint's live plan. Raises NotFound."""
        ...

    async def swap(
        self, tx: Tx, endpoint_id: UUID, *, expected_plan_id: UUID, shares: Sequence[Share], reason: str
    ) -> LivePlan:
        """Make a plan of `shares` (they sum to 100, the candidate last) live if the expected one still is; else Conflict."""
        ...

    async def add_variant(
        self, tx: Tx, endpoint_id: UUID, *, name: str, version_id: UUID, adapters: Sequence[Adapter], like: UUID
    ) -> Variant:
        """Add a variant that is `like` another but for its version and adapters. It gets no traffic yet."""
        ...

    async def variant(self, tx: Tx, variant_id: UUID) -> Variant:
        """A variant by id. Raises NotFound."""
        ...


class EndpointNames(Protocol):
    """Endpoints by what people call them."""

    async def resolve(self, tx: Tx, name_or_id: str) -> UUID:
        """The id of an endpoint by name or id. Raises NotFound."""
        ...


class Outcome(msgspec.Struct, frozen=True):
    """What became of one request. `score` is its feedback from 0 to 1, None while there is none."""

    inference_id: UUID
    variant_id: UUID
    error: bool
    duration_ms: float | None
    score: float | None


class Outcomes(Protocol):
    """Requests with their feedback, joined from the inference log."""

    async def observations(
        self, tx: Tx, endpoint_id: UUID, *, variant_ids: Sequence[UUID], since: datetime
    ) -> Sequence[Outcome]:
        """Requests to the variants begun at or after `since`, in the order in which they became known: by when their
        feedback arrived, or else by when they began."""
        ...


class Loadable(Protocol):
    """A version whose adapter an engine is to hold."""

    @property
    def engine(self) -> str: ...
    @property
    def base_hash(self) -> str | None: ...
    @property
    def adapters(self) -> Sequence[Adapter]: ...
    @property
    def artefacts(self) -> Mapping[str, Any]:
        """`gguf` → {"blob": address, "sha256": hex}, for a version of kind `adapter`."""
        ...


class Engines(Protocol):
    """Engine processes and the adapters that they hold."""

    async def ensure(self, workspace_id: UUID, version: Loadable) -> None:
        """Have every process of the version's engine hold its adapters. Raises Unavailable while one cannot be
        reached, and Invalid or Conflict for an adapter that an engine refuses for good."""
        ...

    async def adapters(self) -> Mapping[str, Collection[str]]:
        """The sha256 of each adapter that is warm, by the name of the engine."""
        ...


class Scorecard(Protocol):
    """A comparison of a candidate with the incumbent, as far as a release needs it. `summary` is a sentence."""

    @property
    def endpoint_id(self) -> UUID: ...
    @property
    def candidate_version_id(self) -> UUID: ...
    @property
    def incumbent_version_id(self) -> UUID | None: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def summary(self) -> str: ...
    @property
    def difference(self) -> float | None:
        """Candidate − incumbent, of scores from 0 to 1; None without an incumbent."""
        ...


class Evaluations(Protocol):
    """Finished evaluations, as evaluate keeps them."""

    async def scorecard(self, tx: Tx, evaluation_id: UUID) -> Scorecard:
        """The scorecard of a finished evaluation. Raises NotFound."""
        ...
