"""Where one station's need meets another's service and the shapes differ: small adapters for the ports.

Each class names the port that it satisfies. Nothing is decided here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from charkha.app.engines import Fleet, ModelsOnDisk
from charkha.core.errors import Invalid, NotFound
from charkha.govern.prices.ports import Use
from charkha.kit.db import Database, Tx
from charkha.kit.snapshot import Snapshots
from charkha.learn.feedback.service import FeedbackService
from charkha.observe.service import InferenceLog
from charkha.observe.usage import store as usage_store
from charkha.release.ports import Outcome
from charkha.release.registry.domain import Version
from charkha.release.registry.service import RegistryService
from charkha.serve.domain import Endpoint, Variant
from charkha.serve.ports import CacheFigures
from charkha.serve.routes import ROUTES, VERSIONS, Routes, Versions
from charkha.serve.service import EndpointService
from charkha.serve.versions import FIRST_BASE


class ServedVersions:
    """serve.versions.Versions: the registry, where a base model's plain name stands for its registered version.

    `registry` is bound last: endpoints ask it for versions, it asks runs, and runs ask endpoints.
    """

    registry: RegistryService

    def __init__(self, bases: Mapping[str, tuple[str, str]], models: ModelsOnDisk) -> None:
        self._bases, self._models = bases, models

    async def get(self, tx: Tx, reference: str | UUID) -> Version:
        """The version of a reference; a base model is registered in the workspace when it is first named."""
        name = str(reference).removesuffix("@0")
        if name == FIRST_BASE and self._bases:
            name = next(iter(self._bases))
        if name not in self._bases:
            return await self.registry.get(tx, str(reference))
        engine, model = self._bases[name]
        return await self.registry.register_base(
            tx, name=name, engine=engine, base_model=model, base_hash=self._models.base_hash(model)
        )


@dataclass(frozen=True)
class Base:
    """learn.ports.TrainingBase."""

    name: str
    engine: str
    model: str
    system_prompt: str | None
    labels: Sequence[str] | None


class TrainableEndpoints:
    """learn.ports.Endpoints and evaluate's Incumbents: an endpoint by what answers most of its traffic."""

    def __init__(self, endpoints: EndpointService, models: ModelsOnDisk) -> None:
        self._endpoints, self._models = endpoints, models

    async def training_base(self, tx: Tx, endpoint_id: UUID) -> Base:
        """The base model beneath an endpoint. Raises Invalid where its file is not on this machine."""
        endpoint = await self._endpoints.get(tx, endpoint_id)
        variant = _main_variant(endpoint)
        if self._models.base_hash(variant.model) is None:
            raise Invalid(
                f"'{variant.model}' is served elsewhere and cannot be trained here.",
                remedy="Train an endpoint on the embedded engine.",
            )
        return Base(endpoint.name, variant.engine, variant.model, variant.system_prompt, endpoint.labels)

    async def of(self, tx: Tx, endpoint_id: UUID) -> UUID | None:
        """The version that answers most of an endpoint's traffic now."""
        return _main_variant(await self._endpoints.get(tx, endpoint_id)).version_id


def _main_variant(endpoint: Endpoint) -> Variant:
    assert endpoint.plan is not None, "a living endpoint has a plan"
    largest = max(endpoint.plan.shares, key=lambda share: share.share)
    return next(variant for variant in endpoint.variants if variant.id == largest.variant_id)


class JudgedTraffic:
    """release.ports.Outcomes: the log's requests with the feedback on them."""

    def __init__(self, inferences: InferenceLog, feedback: FeedbackService) -> None:
        self._inferences, self._feedback = inferences, feedback

    async def observations(
        self, tx: Tx, endpoint_id: UUID, *, variant_ids: Sequence[UUID], since: datetime
    ) -> list[Outcome]:
        """Requests since an instant, in the order in which they became known: by their feedback, else by their start."""
        seen = await self._inferences.observations(tx, endpoint_id, variant_ids=variant_ids, since=since)
        scores = await self._feedback.judged(tx, [each.inference_id for each in seen])

        def known_at(inference_id: UUID) -> UUID:
            score = scores.get(inference_id)
            return score.feedback_id if score else inference_id

        return [
            Outcome(
                inference_id=each.inference_id,
                variant_id=each.variant_id,
                error=each.error,
                duration_ms=each.duration_ms,
                score=scores[each.inference_id].value if each.inference_id in scores else None,
            )
            for each in sorted(seen, key=lambda each: known_at(each.inference_id))
        ]


class AbsentAdapters:
    """serve's EnsureAdapter: an engine that has lost an adapter is brought it again from the registry."""

    def __init__(self, database: Database, registry: RegistryService, fleet: Fleet) -> None:
        self._database, self._registry, self._fleet = database, registry, fleet

    async def ensure(self, engine: str, digest: str, workspace_id: UUID, version_id: UUID | None) -> None:
        """Bring an adapter: what the gateway calls when `engine` says that it holds none of that digest."""
        if version_id is None:
            raise NotFound(f"No version is known for adapter {digest[:12]}….", remedy="Swap the composition again.")
        async with self._database.workspace(workspace_id, "system:gateway") as tx:
            version = await self._registry.get(tx, version_id)
        await self._fleet.ensure(workspace_id, version)


@dataclass(frozen=True)
class Ranked:
    """evaluate.ports.EvaluatedVersion."""

    id: UUID
    kind: str
    base_model: str
    safetensors_blob: str | None
    config_blob: str | None
    callable_name: str | None
    system_prompt: str | None


class RankedVersions:
    """evaluate.ports.Versions: the registry's versions as evaluators load and call them."""

    def __init__(self, registry: RegistryService) -> None:
        self._registry = registry

    async def get(self, tx: Tx, version_id: UUID) -> Ranked:
        """A version with the addresses of its adapter in PEFT's form. Raises NotFound."""
        found = await self._registry.get(tx, str(version_id))
        return Ranked(
            id=found.id,
            kind=found.kind,
            base_model=found.base_model,
            safetensors_blob=found.artefacts.get("safetensors", {}).get("blob"),
            config_blob=found.artefacts.get("config", {}).get("blob"),
            callable_name=found.reference,
            system_prompt=found.system_prompt,
        )


class ReachableModels:
    """govern.prices.ports.InUse: the targets of the gateways' own picture, and the base models, which all may call."""

    def __init__(self, snapshots: Snapshots, bases: Mapping[str, tuple[str, str]]) -> None:
        self._snapshots, self._bases = snapshots, bases

    def __call__(self, workspace_id: UUID) -> Iterator[Use]:
        """Every target of the workspace's endpoints and versions, and of base models."""
        routes: Routes = self._snapshots.get(ROUTES)
        versions: Versions = self._snapshots.get(VERSIONS)
        for (owner, name), route in routes.items():
            if owner == workspace_id:
                ways = (way for _, target in route.targets for way in (target, *target.alternatives))
                yield from (Use(way.engine, way.model, name) for way in ways)
        for (owner, _), version in versions.items():
            if owner == workspace_id:
                yield Use(version.engine, version.model, "")
        for name, (engine, model) in self._bases.items():
            yield Use(engine, model, name)


async def cache_figures(tx: Tx, names: Sequence[str], first: date, last: date) -> Mapping[str, CacheFigures]:
    """serve.caches.api.Figures: what usage says of endpoints' caches, by the names that requests called them."""
    found: dict[str, CacheFigures] = {}
    for row in await usage_store.caches(tx, names, first, last):
        so_far = found.get(row.model, CacheFigures())
        saved = {row.currency: int(row.saved)} if row.currency and row.saved else {}
        hits, misses = so_far.hits + int(row.cached), so_far.misses + int(row.missed)
        found[row.model] = CacheFigures(hits, misses, {**so_far.saved, **saved})
    return found
