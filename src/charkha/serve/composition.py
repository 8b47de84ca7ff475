"""Blends of adapters on live endpoints: swapped in one step, and shown with where each adapter is warm."""

from collections.abc import Mapping, Set
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from charkha.kit.db import Tx
from charkha.serve.domain import Endpoint, Plan, Share, Variant
from charkha.serve.ports import Engine
from charkha.serve.service import EndpointService
from charkha.serve.variants import BlendSpec

log = structlog.get_logger()


class Swapped(msgspec.Struct, frozen=True):
    """A blend that was made live: the variant that carries it and the plan that gives it everything."""

    variant: Variant
    plan: Plan


class AdapterUse(msgspec.Struct, frozen=True):
    """One adapter in one live variant. `state` is "unknown" where the engine does not answer."""

    digest: str
    version_id: UUID | None
    weight: float
    endpoint: str
    variant: str
    share: int
    engine: str
    state: Literal["warm", "cold", "unknown"]


class Composition:
    """Swaps blends through the endpoints' service, and asks engines what they hold."""

    def __init__(self, endpoints: EndpointService, engines: Mapping[str, Engine]) -> None:
        self._endpoints, self._engines = endpoints, engines

    async def swap(
        self,
        tx: Tx,
        name_or_id: str,
        parts: list[BlendSpec],
        *,
        name: str,
        expected_plan_id: UUID | None,
        reason: str,
    ) -> Swapped:
        """Give all of an endpoint's traffic to a blend on the model of its baseline (the plan's first variant)."""
        endpoint_id = await self._endpoints.resolve(tx, name_or_id)
        live = await self._endpoints.live(tx, endpoint_id)
        like = live.shares[0].variant_id
        variant = await self._endpoints.blend(tx, endpoint_id, name=name, parts=parts, like=like)
        plan = await self._endpoints.swap(
            tx,
            endpoint_id,
            expected_plan_id=expected_plan_id or live.id,
            shares=[Share(variant.id, 100)],
            reason=reason,
        )
        return Swapped(variant, plan)

    async def warm(self) -> dict[str, Set[str]]:
        """The digests that each engine holds; one that does not answer is left out. Call it outside a transaction."""
        held: dict[str, Set[str]] = {}
        for name, engine in self._engines.items():
            try:
                held[name] = frozenset(await engine.adapters())
            except (OSError, ValueError) as error:
                log.warning("composition.engine_silent", engine=name, reason=str(error))
        return held

    async def stats(
        self, tx: Tx, warm: Mapping[str, Set[str]], *, endpoint: str | UUID | None = None
    ) -> list[AdapterUse]:
        """The adapters of one endpoint's live plan, or of those of the 500 newest. Raises NotFound."""
        uses = []
        for found in await self._found(tx, endpoint):
            shares = {each.variant_id: each.share for each in found.plan.shares} if found.plan else {}
            for variant in found.variants:
                uses += _uses(found.name, variant, shares[variant.id], warm.get(variant.engine))
        return uses

    async def _found(self, tx: Tx, name_or_id: str | UUID | None) -> list[Endpoint]:
        if name_or_id is not None:
            return [await self._endpoints.get(tx, name_or_id, only_live=True)]
        return (await self._endpoints.listed(tx, live=True, limit=500)).data


def _uses(endpoint: str, variant: Variant, share: int, warm: Set[str] | None) -> list[AdapterUse]:
    def state(digest: str) -> Literal["warm", "cold", "unknown"]:
        if warm is None:
            return "unknown"
        return "warm" if digest in warm else "cold"

    return [
        AdapterUse(
            digest=each.digest,
            version_id=each.version_id,
            weight=each.weight,
            endpoint=endpoint,
            variant=variant.name,
            share=share,
            engine=variant.engine,
            state=state(each.digest),
        )
        for each in variant.adapters
    ]
