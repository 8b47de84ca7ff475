"""Endpoints of a workspace: made, changed, and moved from plan to plan by compare-and-swap.

Satisfies the ports by which releases move traffic (`live`, `swap`, `add_variant`, `variant`, `resolve`).
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy.exc import IntegrityError

from charkha.core.clock import now
from charkha.core.errors import Conflict, Invalid, NotFound
from charkha.core.events import PlanMoved
from charkha.core.ids import uuid7
from charkha.govern import audit
from charkha.kit.db import Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.paging import Page
from charkha.kit.snapshot import bump
from charkha.serve import store, variants
from charkha.serve.caches.policy import CachePolicy, check_policy
from charkha.serve.domain import Adapter, Endpoint, Plan, Share, Variant, check_endpoint, check_shares
from charkha.serve.variants import BlendSpec, VariantSpec
from charkha.serve.versions import Versions


class ShareLike(Protocol):
    """A variant and its per cent of the traffic."""

    @property
    def variant_id(self) -> UUID: ...
    @property
    def share(self) -> int: ...


class EndpointService:
    """Makes endpoints and variants, and moves live plans. `engines` are the names of the engines there are."""

    def __init__(self, events: EventLog, versions: Versions, engines: Collection[str]) -> None:
        self._events, self._versions, self._engines = events, versions, engines

    async def create(
        self,
        tx: Tx,
        *,
        name: str,
        variant: VariantSpec,
        labels: list[str] | None = None,
        keeps_content: bool = True,
        cache: CachePolicy | None = None,
    ) -> Endpoint:
        """Make an endpoint whose plan 1 gives everything to one variant. Raises Conflict where the name is taken."""
        check_endpoint(name, labels)
        if cache is not None:
            check_policy(cache, self._engines)
        endpoint_id = uuid7()
        made = await variants.make(tx, endpoint_id, variant, versions=self._versions, engines=self._engines)
        plan = _plan(tx, endpoint_id, 1, [Share(made.id, 100)], "created", None)
        try:
            async with tx.conn.begin_nested():
                await store.add_endpoint(tx, endpoint_id, name, labels, keeps_content, plan.id, cache)
        except IntegrityError as error:
            raise Conflict(
                f"There is an endpoint '{name}' already.",
                param="name",
                remedy="Choose another name, or change that one.",
            ) from error
        await store.add_variant(tx, made)
        await store.add_plan(tx, plan)
        await audit.record(tx, "endpoint.created", "endpoint", endpoint_id, name=name, keeps_content=keeps_content)
        version = await self._moved(tx, plan)
        return msgspec.structs.replace(await self.get(tx, endpoint_id), served_from=version)

    async def get(self, tx: Tx, name_or_id: str | UUID, *, only_live: bool = False) -> Endpoint:
        """An endpoint with its live plan and all its variants, or only the plan's, by name or id. Raises NotFound."""
        found = await self._find(tx, name_or_id)
        if only_live:
            return (await _with_live(tx, [found]))[0]
        live = await store.plan(tx, found.live_plan_id)
        return msgspec.structs.replace(found, plan=live, variants=await store.variants_of(tx, found.id))

    async def resolve(self, tx: Tx, name_or_id: str) -> UUID:
        """The id of an endpoint by name or id. Raises NotFound."""
        return (await self._find(tx, name_or_id)).id

    async def listed(self, tx: Tx, *, live: bool = False, after: UUID | None = None, limit: int = 50) -> Page[Endpoint]:
        """The workspace's endpoints, newest first; `live`: each with its live plan and the variants that it names."""
        found = await store.listed(tx, after=after, limit=limit)
        return Page(await _with_live(tx, found.data), found.next) if live else found

    async def update(
        self,
        tx: Tx,
        name_or_id: str | UUID,
        *,
        keeps_content: bool | None = None,
        cache: CachePolicy | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> Endpoint:
        """Say whether the log keeps what is said at an endpoint, and whether answers are given again (`cache`; None turns
        that off, and any change forgets what was kept). What is not given stays. It holds for requests from then on."""
        found = await self._find(tx, name_or_id)
        changes: dict[str, Any] = {} if keeps_content is None else {"keeps_content": keeps_content}
        if cache is not msgspec.UNSET:
            if cache is not None:
                check_policy(cache, self._engines)
            changes["cache"] = msgspec.to_builtins(cache)
            await store.forget_answers(tx, found.id)
        if not changes:
            raise Invalid("Nothing is to be changed.", remedy="Give `keeps_content` or `cache`.")
        await store.change(tx, found.id, **changes)
        await audit.record(tx, "endpoint.updated", "endpoint", found.id, **changes)
        version = await bump(tx)
        return msgspec.structs.replace(await self.get(tx, found.id), served_from=version)

    async def clear_caches(self, tx: Tx, name_or_id: str | UUID | None = None) -> int:
        """Have every gateway forget the answers that an endpoint, or every endpoint of the workspace, would give again.

        Returns the snapshot version from which on they are forgotten.
        """
        found = await self._find(tx, name_or_id) if name_or_id is not None else None
        await store.forget_answers(tx, found.id if found else None)
        kind, target = ("endpoint", found.id) if found else ("workspace", tx.workspace_id)
        await audit.record(tx, "cache.cleared", kind, target)
        return await bump(tx)

    async def delete(self, tx: Tx, name_or_id: str | UUID) -> int:
        """Take an endpoint away; its log stays. Returns the snapshot version from which on it is gone everywhere."""
        found = await self._find(tx, name_or_id)
        await store.change(tx, found.id, deleted_at=now())
        await audit.record(tx, "endpoint.deleted", "endpoint", found.id, name=found.name)
        return await bump(tx)

    async def variants(
        self,
        tx: Tx,
        name_or_id: str | UUID,
        *,
        ids: Collection[UUID] | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[Variant]:
        """The variants that an endpoint has had, newest first; of `ids` only, if given."""
        endpoint_id = (await self._find(tx, name_or_id)).id
        return await store.variants_page(tx, endpoint_id, ids=ids, after=after, limit=limit)

    async def put_variant(self, tx: Tx, name_or_id: str | UUID, spec: VariantSpec) -> Variant:
        """Add a variant that a person describes. It gets no traffic until a plan names it."""
        found = await self._find(tx, name_or_id)
        made = await variants.make(tx, found.id, spec, versions=self._versions, engines=self._engines)
        return await self._add(tx, made)

    async def add_variant(
        self,
        tx: Tx,
        endpoint_id: UUID,
        *,
        name: str,
        version_id: UUID | None,
        adapters: Sequence[tuple[str, float]],
        like: UUID,
    ) -> Variant:
        """Add a variant that is `like` another of the endpoint but for its version and adapters (digest, weight)."""
        blend = [Adapter(digest, weight, version_id) for digest, weight in adapters]
        return await self._add_like(tx, endpoint_id, like, name=name, version_id=version_id, adapters=blend)

    async def blend(self, tx: Tx, endpoint_id: UUID, *, name: str, parts: list[BlendSpec], like: UUID) -> Variant:
        """Add a variant that is `like` another but for the adapters blended on it: those of versions, weighted."""
        model = await self.variant(tx, like)
        found = await variants.blended(tx, parts, engine=model.engine, model=model.model, versions=self._versions)
        return await self._add_like(tx, endpoint_id, like, name=name, version_id=None, adapters=found)

    async def variant(self, tx: Tx, variant_id: UUID) -> Variant:
        """A variant by id. Raises NotFound."""
        found = await store.variant(tx, variant_id)
        if found is None:
            raise NotFound(f"There is no variant {variant_id} in this workspace.", remedy="See GET /endpoints/{name}.")
        return found

    async def live(self, tx: Tx, endpoint_id: UUID) -> Plan:
        """The live plan of an endpoint. Raises NotFound."""
        found = await store.plan(tx, (await self._find(tx, endpoint_id)).live_plan_id)
        assert found is not None, "a living endpoint has a plan"
        return found

    async def plans(self, tx: Tx, name_or_id: str | UUID, *, after: UUID | None = None, limit: int = 50) -> Page[Plan]:
        """The plans that an endpoint has had, newest first."""
        return await store.plans_of(tx, (await self._find(tx, name_or_id)).id, after=after, limit=limit)

    async def swap(
        self, tx: Tx, endpoint_id: UUID, *, expected_plan_id: UUID, shares: Sequence[ShareLike], reason: str
    ) -> Plan:
        """Make a plan of `shares` live if the expected one still is. Raises Conflict naming the live plan."""
        await self._find(tx, endpoint_id)
        expected = await store.plan(tx, expected_plan_id)
        known = [variant.id for variant in await store.variants_of(tx, endpoint_id)]
        wanted = [Share(each.variant_id, each.share) for each in shares]
        check_shares(wanted, known)
        number = expected.number + 1 if expected else 0
        plan = _plan(tx, endpoint_id, number, wanted, reason, expected_plan_id)
        if expected is None or not await store.move(tx, endpoint_id, expected_plan_id, plan.id):
            live = await self.live(tx, endpoint_id)
            raise Conflict(
                f"The live plan is number {live.number} ({live.id}), not the one expected.",
                param="expected_plan_id",
                code="plan_moved",
                remedy="Look at the live plan and decide again.",
            )
        await store.add_plan(tx, plan)
        detail: dict[str, Any] = {"plan": str(plan.id), "number": number, "shares": msgspec.to_builtins(wanted)}
        await audit.record(tx, "plan.moved", "endpoint", endpoint_id, **detail, reason=reason)
        return msgspec.structs.replace(plan, served_from=await self._moved(tx, plan))

    async def _find(self, tx: Tx, name_or_id: str | UUID) -> Endpoint:
        identity = name_or_id if isinstance(name_or_id, UUID) else _as_id(name_or_id)
        name = str(name_or_id).replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL's text holds no NUL
        found = await (store.endpoint(tx, identity) if identity else store.endpoint_named(tx, name))
        if found is None:
            raise NotFound(
                f"There is no endpoint '{str(name_or_id)[:200]}' in this workspace.",
                remedy="See `charkha endpoints list`.",
            )
        return found

    async def _add_like(self, tx: Tx, endpoint_id: UUID, like: UUID, **changes: Any) -> Variant:
        model = await self.variant(tx, like)
        if model.endpoint_id != endpoint_id:
            raise NotFound(f"Variant {like} is not one of this endpoint.", remedy="See GET /endpoints/{name}.")
        made = msgspec.structs.replace(model, id=uuid7(), **changes)
        variants.check(made)
        return await self._add(tx, made)

    async def _add(self, tx: Tx, variant: Variant) -> Variant:
        await store.add_variant(tx, variant)
        await audit.record(
            tx, "variant.added", "endpoint", variant.endpoint_id, variant=str(variant.id), name=variant.name
        )
        return await self.variant(tx, variant.id)

    async def _moved(self, tx: Tx, plan: Plan) -> int:
        await self._events.emit(tx, PlanMoved(endpoint_id=plan.endpoint_id, plan_id=plan.id))
        return await bump(tx)


def _plan(tx: Tx, endpoint_id: UUID, number: int, shares: list[Share], reason: str, previous_id: UUID | None) -> Plan:
    return Plan(uuid7(), endpoint_id, number, shares, reason, tx.actor, previous_id)


async def _with_live(tx: Tx, found: Sequence[Endpoint]) -> list[Endpoint]:
    """Endpoints with their live plans and the variants of these: two queries, however many endpoints."""
    live = await store.plans_by_id(tx, [each.live_plan_id for each in found])
    named = {share.variant_id for plan in live.values() for share in plan.shares}
    known = await store.variants_by_id(tx, named)

    def whole(endpoint: Endpoint) -> Endpoint:
        plan = live[endpoint.live_plan_id]
        return msgspec.structs.replace(endpoint, plan=plan, variants=[known[share.variant_id] for share in plan.shares])

    return [whole(endpoint) for endpoint in found]


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
