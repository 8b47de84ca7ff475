"""The engines of an installation: built from the settings through the plugins' public door, and kept supplied.

Boundary: the only code that moves adapter files from blobs to engines.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp

from charkha.app.installation import Installation
from charkha.app.settings import Settings
from charkha.core.errors import CharkhaError, NotFound
from charkha.kit import egress, telemetry, wire
from charkha.kit.blobs import Blobs
from charkha.kit.plugins import boundary, configured, load
from charkha.kit.snapshot import Snapshots
from charkha.release.ports import Loadable
from charkha.serve.engines.models import find_model
from charkha.serve.ports import Engine, EngineDeps
from charkha.serve.providers.domain import EngineView
from charkha.serve.providers.living import BaseModels, Builder, Engines
from charkha.serve.providers.service import EngineService
from charkha.serve.providers.store import ENGINES
from charkha.serve.providers.store import load as load_engines

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts on which engines of our own listen, and which our egress rules would else refuse."""

log = telemetry.logger(__name__)


class Sessions:
    """The HTTP sessions of this process's event loop: one to engines on this machine and to those that settings name,
    and one, `guarded`, to engines of the database, which may be on public hosts and on those that the operator allows.
    """

    def __init__(self, installation: Installation) -> None:
        urls = [str(engine.options.get("url", "")) for engine in installation.settings.engines.values()]
        self._hosts = (*LOCAL, *(urlsplit(url).hostname or "" for url in urls))
        self._allowed = installation.settings.allowed_engine_hosts
        self._session: aiohttp.ClientSession | None = None
        self._guarded: aiohttp.ClientSession | None = None

    def __call__(self) -> aiohttp.ClientSession:
        """The session, opened on first use."""
        if self._session is None or self._session.closed:
            self._session = self.new()
        return self._session

    def new(self) -> aiohttp.ClientSession:
        """Another session, for whoever closes it."""
        return egress.session(allowed_hosts=self._hosts)

    def guarded(self) -> aiohttp.ClientSession:
        """The session of engines whose address was not the operator's to choose."""
        if self._guarded is None or self._guarded.closed:
            self._guarded = egress.session(allowed_hosts=self._allowed)
        return self._guarded

    def wire(self) -> wire.Session:
        """The hot path's own client, for whoever closes it: of a session it has what a gateway asks for."""
        return wire.Session(allowed_hosts=self._hosts)

    async def close(self) -> None:
        """Close them."""
        for session in (self._session, self._guarded):
            if session is not None:
                await session.close()


def engine_token(installation: Installation) -> str:
    """What callers of an embedded engine show it."""
    return installation.secrets.derive("engine-token").hex()


def built_engines(installation: Installation, sessions: Sessions | None = None) -> dict[str, Engine]:
    """Every engine that the settings name. Raises Invalid or Misconfigured naming the engine that cannot be built."""
    deps = EngineDeps(sessions or Sessions(installation), installation.home, engine_token(installation))
    found: dict[str, Engine] = {}
    for name, chosen in installation.settings.engines.items():
        plugin = load("engines", chosen.plugin)
        with boundary(f"engine '{name}'"):
            found[name] = plugin.build(configured(plugin, {"name": name, **chosen.options}), deps)
    return found


def base_models(installation: Installation) -> dict[str, tuple[str, str]]:
    """The models that may be called by their own name: name → (engine, model)."""
    found: dict[str, tuple[str, str]] = {}
    for name, chosen in installation.settings.engines.items():
        plugin = load("engines", chosen.plugin)
        config = configured(plugin, {"name": name, **chosen.options})
        models = [config.model_name] if hasattr(config, "model_name") else list(config.models)
        found |= {model: (name, model) for model in models if model not in found}
    return found


def all_engines(
    installation: Installation, sessions: Sessions, snapshots: Snapshots
) -> tuple[Engines, BaseModels, EngineService]:
    """The engines of the settings and of the database, the models that they bring along, and what changes the latter."""
    deps = EngineDeps(sessions.guarded, installation.home, "")
    builder, settings = Builder(installation.secrets, deps), installation.settings
    engines = Engines(built_engines(installation, sessions), snapshots, builder)
    snapshots.register(ENGINES, load_engines)
    service = EngineService(
        engines, builder, snapshots, settings=_views(settings), allowed_hosts=settings.allowed_engine_hosts
    )
    return engines, BaseModels(base_models(installation), snapshots), service


def _views(settings: Settings) -> list[EngineView]:
    """The engines of the settings as they are told of; a plugin's options may be secrets, so they are not."""
    found = []
    for name, chosen in settings.engines.items():
        plugin = load("engines", chosen.plugin)
        config = configured(plugin, {"name": name, **chosen.options})
        models = getattr(config, "models", None) or {getattr(config, "model_name", ""): ""}
        url = urlsplit(str(getattr(config, "url", "")))
        address = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}" if url.scheme else None
        told = {ours: theirs or ours for ours, theirs in models.items() if ours}
        found.append(
            EngineView(
                id=None, name=name, source="settings", plugin=chosen.plugin, url=address, models=told, options={}
            )
        )
    return found


class ModelsOnDisk:
    """The files of base models on this machine, for training and evaluation."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def gguf(self, model: str) -> Path:
        """The GGUF file of a base model that is served here. Raises NotFound."""
        return self._found(model)[0]

    def base_hash(self, model: str) -> str | None:
        """The SHA-256 of the model's file, or None for a model that is served elsewhere."""
        try:
            return self._found(model)[1]
        except NotFound:
            return None

    def _found(self, model: str) -> tuple[Path, str]:
        for name, chosen in self._installation.settings.engines.items():
            plugin = load("engines", chosen.plugin)
            config = configured(plugin, {"name": name, **chosen.options})
            if getattr(config, "model_name", None) == model:
                with boundary(f"model '{model}'"):
                    file = find_model(config.model_path, self._installation.models)
                return file.path, file.sha256
        raise NotFound(
            f"The model '{model}' has no file on this machine.", remedy="Train a model that the embedded engine serves."
        )


class Fleet:
    """All engines, and the adapters that they hold."""

    def __init__(self, engines: Mapping[str, Engine], blobs: Blobs) -> None:
        self._engines, self._blobs = engines, blobs

    async def ensure(self, workspace_id: UUID, version: Loadable) -> None:
        """Have the version's engine hold its adapter. Raises Unavailable, or Invalid for one that it refuses."""
        file = version.artefacts.get("gguf")
        if file is None:
            return
        with tempfile.TemporaryDirectory(prefix="charkha-adapter-") as directory:
            path = await self._blobs.fetch(workspace_id, file["blob"], Path(directory) / "adapter.gguf")
            with boundary(f"engine '{version.engine}'"):
                await self._engines[version.engine].load_adapter(file["sha256"], path)

    async def adapters(self) -> dict[str, list[str]]:
        """The adapters that each engine holds; an engine that does not answer holds none."""
        engines = dict(self._engines)  # others may come and go meanwhile
        held = await asyncio.gather(*(self._held(engine) for engine in engines.values()))
        return dict(zip(engines, held, strict=True))

    async def _held(self, engine: Engine) -> list[str]:
        try:
            with boundary(f"engine '{engine.name}'"):
                return await engine.adapters()
        except CharkhaError as error:
            log.warning("engine.unreachable", engine=engine.name, reason=error.message)
            return []
