"""All engines as every part of a process sees them: those of the settings, then those kept in the database, always as
the snapshot has them now.

Boundary: the only place where a provider's key is opened, and where an engine of the database is built.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidTag

from charkha.core.errors import CharkhaError, Misconfigured
from charkha.kit import telemetry
from charkha.kit.crypto import Secrets
from charkha.kit.plugins import boundary, configured, load
from charkha.kit.snapshot import Snapshots
from charkha.serve.ports import CountsTokens, Engine, EngineDeps, EngineHealth, UpstreamCall
from charkha.serve.providers.domain import Provider, key_context
from charkha.serve.providers.store import ENGINES, Kept

HEALTH_SECONDS = 15.0
log = telemetry.logger(__name__)


class Guarded:
    """An engine of the database: its calls go out by the session that reaches public hosts, and allowed ones, alone.

    How it is, it is asked once in 15 s at most, however many pages and probes want to know: its provider counts calls.
    """

    def __init__(self, engine: Engine, deps: EngineDeps) -> None:
        self.name, self._engine, self._deps = engine.name, engine, deps
        self._health, self._asked, self._asking = EngineHealth(False), -math.inf, asyncio.Lock()

    def prepare(self, home: Path, token: str) -> Path | None:
        """Nothing to prepare."""
        return None

    def command(self) -> list[str] | None:
        """No process of ours."""
        return None

    def upstream(self, path: str, body: dict[str, Any], adapters: Sequence[tuple[str, float]]) -> UpstreamCall:
        """The call for a request. See `Engine`."""
        return replace(self._engine.upstream(path, body, adapters), session=self._deps.session)

    async def health(self) -> EngineHealth:
        """Whether it answered when it was last asked."""
        async with self._asking:
            if time.monotonic() - self._asked > HEALTH_SECONDS:
                self._health = await self._engine.health()
                self._asked = time.monotonic()
        return self._health

    async def adapters(self) -> list[str]:
        """What it holds."""
        return await self._engine.adapters()

    async def load_adapter(self, digest: str, content: Path) -> None:
        """See `Engine`."""
        await self._engine.load_adapter(digest, content)

    async def unload_adapter(self, digest: str) -> None:
        """See `Engine`."""
        await self._engine.unload_adapter(digest)


class GuardedCounting(Guarded):
    """One that counts tokens as well."""

    counts_tokens: Literal[True] = True


class Builder:
    """Makes an engine of what is kept of it. `deps` have the guarded session."""

    def __init__(self, secrets: Secrets, deps: EngineDeps) -> None:
        self._secrets, self._deps = secrets, deps

    def seal(self, name: str, url: str, key: str) -> bytes:
        """A key as it is kept: for this engine at this URL."""
        return self._secrets.seal(key.encode(), context=key_context(name, url))

    def config(self, name: str, plugin: str, options: Mapping[str, Any]) -> Any:
        """The plugin's configuration. Raises Invalid naming the first wrong field."""
        return configured(load("engines", plugin), {**options, "name": name, "api_key_env": ""})

    def build(self, kept: Provider) -> Engine:
        """The engine. Raises Misconfigured where its key was sealed for something else, or with another master key."""
        deps = replace(self._deps, api_key=self._key(kept))
        config = self.config(kept.name, kept.plugin, kept.options)
        with boundary(f"engine '{kept.name}'"):
            engine: Engine = load("engines", kept.plugin).build(config, deps)
        return GuardedCounting(engine, deps) if isinstance(engine, CountsTokens) else Guarded(engine, deps)

    def _key(self, kept: Provider) -> str:
        if kept.key_sealed is None:
            return ""
        try:
            return self._secrets.open(kept.key_sealed, context=key_context(kept.name, kept.url)).decode()
        except InvalidTag as error:
            raise Misconfigured(
                f"The key of the engine '{kept.name}' cannot be opened: it was set for another URL or installation.",
                remedy=f"Set it again: charkha engines key {kept.name}",
            ) from error


class Engines(Mapping[str, Engine]):
    """Engines by name. `fixed` are those of the settings; the others come and go with the snapshot."""

    def __init__(self, fixed: Mapping[str, Engine], snapshots: Snapshots, builder: Builder) -> None:
        self.fixed = dict(fixed)
        self._snapshots, self._builder = snapshots, builder
        self._seen: Kept = ()
        self._built: dict[str, tuple[Provider, Engine]] = {}

    def __getitem__(self, name: str) -> Engine:
        found = self.fixed.get(name)
        return found if found is not None else self._now()[name][1]

    def __iter__(self) -> Iterator[str]:
        return chain(self.fixed, [name for name in self._now() if name not in self.fixed])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _now(self) -> dict[str, tuple[Provider, Engine]]:
        kept = kept_in(self._snapshots, self._seen)
        if kept is not self._seen:
            self._built = {each.name: built for each in kept if (built := self._of(each)) is not None}
            self._seen = kept
        return self._built

    def _of(self, kept: Provider) -> tuple[Provider, Engine] | None:
        """The engine that is built already where nothing of it has changed; None for one that cannot be built."""
        before = self._built.get(kept.name)
        if before is not None and before[0] == kept:
            return before
        try:
            return kept, self._builder.build(kept)
        except CharkhaError as error:
            log.error("engine.not_built", engine=kept.name, reason=str(error))
            return None


class BaseModels(Mapping[str, tuple[str, str]]):
    """Models that may be called by their own name → (engine, model): those of the settings' engines come first."""

    def __init__(self, fixed: Mapping[str, tuple[str, str]], snapshots: Snapshots) -> None:
        self._fixed, self._snapshots = fixed, snapshots
        self._seen: Kept = ()
        self._found: dict[str, tuple[str, str]] = dict(fixed)

    def __getitem__(self, name: str) -> tuple[str, str]:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def _now(self) -> dict[str, tuple[str, str]]:
        kept = kept_in(self._snapshots, self._seen)
        if kept is not self._seen:
            brought = {model: (each.name, model) for each in reversed(kept) for model in each.models}
            self._found, self._seen = {**self._fixed, **brought, **self._fixed}, kept
        return self._found


def kept_in(snapshots: Snapshots, otherwise: Kept) -> Kept:
    """The engines of the snapshot; `otherwise` before it is first read, and while it is too old."""
    try:
        found: Kept = snapshots.get(ENGINES)
    except (CharkhaError, KeyError):
        return otherwise
    return found
