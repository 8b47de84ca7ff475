"""Engines added, changed, keyed, checked and removed while gateways serve; each change is audited, without the key."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from charkha.core.clock import now
from charkha.core.errors import CharkhaError, Conflict, NotFound
from charkha.core.ids import uuid7
from charkha.govern import audit
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.kit.plugins import boundary
from charkha.kit.snapshot import Snapshots, bump
from charkha.serve.ports import Engine
from charkha.serve.providers import store
from charkha.serve.providers.domain import (
    MAX_ENGINES,
    EngineCheck,
    EngineView,
    Provider,
    check_key,
    check_name,
    check_options,
    check_plugin,
    check_url,
    key_end,
)
from charkha.serve.providers.living import Builder, Engines
from charkha.serve.providers.tables import engines as table
from charkha.serve.routes import ROUTES, sends_to

_NO_KEY: Mapping[str, Any] = {"key_sealed": None, "key_ends": None, "key_set_at": None}


class EngineService:
    """What a person does with engines. `settings` are those that stand there, as they are told of."""

    def __init__(
        self,
        engines: Engines,
        builder: Builder,
        snapshots: Snapshots,
        *,
        settings: Sequence[EngineView],
        allowed_hosts: Sequence[str],
    ) -> None:
        """`allowed_hosts`: those on a private network, or without TLS, that engines may be at all the same."""
        self._engines, self._builder, self._snapshots = engines, builder, snapshots
        self._settings = {each.name: each for each in settings}
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    async def listed(self, tx: Tx, *, after: UUID | None = None, limit: int = 50) -> Page[EngineView]:
        """Engines: those of the settings on the first page, then those of the database, newest first."""
        found = await page(tx, sa.select(table), table, store.provider_of, after=after, limit=limit)
        first = [] if after is not None else [*self._settings.values()]
        return Page([*first, *map(self._view, found.data)], found.next)

    async def get(self, tx: Tx, name: str) -> EngineView:
        """An engine by name. Raises NotFound."""
        if name in self._settings:
            return self._settings[name]
        return self._view(_there(await store.find(tx, name), name))

    async def add(
        self, tx: Tx, *, name: str, plugin: str, options: Mapping[str, Any], key: str | None = None
    ) -> EngineView:
        """Keep a new engine. Raises Invalid for what cannot be one, Conflict where the name is taken."""
        check_name(name, self._engines.fixed)
        check_plugin(plugin)
        whole = self._checked(name, plugin, options)
        if await store.count(tx) >= MAX_ENGINES:
            raise Conflict(f"There are {MAX_ENGINES} engines already.", remedy="Remove one that is not needed.")
        made = Provider(uuid7(), name, plugin, whole, None, None, None, now())
        if key is not None:
            made = msgspec.structs.replace(made, **self._sealed(made, key))
        try:
            async with tx.conn.begin_nested():
                await store.add(tx, made)
        except IntegrityError as error:
            raise Conflict(
                f"There is an engine '{name}' already.", param="name", remedy="Choose another name, or change that one."
            ) from error
        await audit.record(tx, "engine.added", "engine", name, plugin=plugin, url=made.url, keyed=key is not None)
        return await self._changed(tx, made)

    async def change(self, tx: Tx, name: str, options: Mapping[str, Any]) -> EngineView:
        """Give an engine other options; those that are not named stay, null takes the default. Another URL erases the key."""
        kept = await self._kept(tx, name)
        merged = {field: value for field, value in {**kept.options, **options}.items() if value is not None}
        whole = self._checked(name, kept.plugin, merged)
        moved = whole["url"] != kept.url
        values = {"options": whole, **(_NO_KEY if moved else {})}
        await store.change(tx, name, **values)
        detail = {"url": whole["url"], "options": sorted(options), "key_erased": moved and kept.key_ends is not None}
        await audit.record(tx, "engine.changed", "engine", name, **detail)
        return await self._changed(tx, msgspec.structs.replace(kept, **values))

    async def set_key(self, tx: Tx, name: str, key: str) -> EngineView:
        """Keep another key for an engine, sealed; it is never shown again."""
        kept = await self._kept(tx, name)
        values = self._sealed(kept, key)
        await store.change(tx, name, **values)
        await audit.record(tx, "engine.key_set", "engine", name, url=kept.url)
        return await self._changed(tx, msgspec.structs.replace(kept, **values))

    async def remove(self, tx: Tx, name: str) -> int:
        """Remove an engine and its key; the snapshot version without it. Raises Conflict while a live plan names it."""
        kept = await self._kept(tx, name)
        version = await bump(tx)  # who moves a plan does this too: from here on none moves until this is decided
        await self._snapshots.refresh()
        plans = sends_to(self._snapshots.get(ROUTES), name)
        if plans:
            raise Conflict(
                f"Live plans of {plans} endpoints send traffic to the engine '{name}'.",
                code="engine_in_use",
                remedy="Move them to other variants first.",
            )
        await store.remove(tx, name)
        await audit.record(tx, "engine.removed", "engine", name, url=kept.url)
        return version

    async def found(self, tx: Tx, name: str) -> Callable[[], Engine]:
        """An engine that can be built, as it stands in the database or the settings now. Raises NotFound."""
        if name in self._engines.fixed:
            return lambda: self._engines.fixed[name]
        kept = _there(await store.find(tx, name), name)
        return lambda: self._builder.build(kept)

    async def check(self, name: str, found: Callable[[], Engine]) -> EngineCheck:
        """Ask an engine how it is; not in a transaction, for it may take its time."""
        began = time.perf_counter()
        try:
            with boundary(f"engine '{name}'"):
                health = await found().health()
            ready, detail = health.ready, health.detail or health.model
        except CharkhaError as error:
            ready, detail = False, str(error)
        return EngineCheck(name, ready, detail, round((time.perf_counter() - began) * 1000, 1))

    def _checked(self, name: str, plugin: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """All of a plugin's options, each as it will be used. Raises Invalid."""
        check_options(options)
        config = self._builder.config(name, plugin, options)
        whole: dict[str, Any] = config.model_dump(mode="json", exclude={"name", "api_key_env"})
        check_url(whole["url"], self._allowed)
        return whole

    def _sealed(self, kept: Provider, key: str) -> dict[str, Any]:
        check_key(key)
        sealed = self._builder.seal(kept.name, kept.url, key)
        return {"key_sealed": sealed, "key_ends": key_end(key), "key_set_at": now()}

    async def _kept(self, tx: Tx, name: str) -> Provider:
        """An engine of the database, locked. Raises NotFound, or Conflict for one of the settings."""
        if name in self._engines.fixed:
            raise Conflict(
                f"The engine '{name}' stands in the settings.", remedy="Change it there; its key is in its api_key_env."
            )
        return _there(await store.find(tx, name, lock=True), name)

    async def _changed(self, tx: Tx, kept: Provider) -> EngineView:
        return msgspec.structs.replace(self._view(kept), served_from=await bump(tx))

    def _view(self, kept: Provider) -> EngineView:
        problem = None
        try:
            self._builder.build(kept)
        except CharkhaError as error:
            problem = str(error)
        return EngineView(
            id=kept.id,
            name=kept.name,
            source="database",
            plugin=kept.plugin,
            url=kept.url,
            models=kept.models,
            options={name: value for name, value in kept.options.items() if name not in ("url", "models")},
            key_ends=kept.key_ends,
            key_set_at=kept.key_set_at,
            problem=problem,
            created_at=kept.created_at,
        )


def _there(kept: Provider | None, name: str) -> Provider:
    if kept is None:
        raise NotFound(f"There is no engine '{name[:64]}'.", remedy="`charkha engines list` tells which there are.")
    return kept
