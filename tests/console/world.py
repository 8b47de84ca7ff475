"""A console in process, on a real PostgreSQL: the product's own wiring, an engine that echoes, and people who look.

`seeded` is made once for a test run; each test gets a copy of its database and of its home, and may change both.
"""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import httpx

from charkha.app import settings
from charkha.app.http import Front
from charkha.app.installation import Installation
from charkha.app.serving import served
from charkha.app.wiring import Wiring
from charkha.console import security
from charkha.testing.fake_engine import FakeEngine, FakeModel
from charkha.testing.serving import serving
from tests.console.furniture import Furniture, Things, log
from tests.console.reading import Node, buttons, forms, heading, links, parse, rows, text_of
from tests.console.seed import furnish

__all__ = ["Browser", "Node", "World", "buttons", "forms", "heading", "links", "parse", "rows", "text_of"]

ADDRESS = "https://127.0.0.1"
"""The session's cookie is only sent over TLS, or to this machine: as browsers keep it, so does httpx over https."""
WHO = {"operator": "default", "developer": "default", "viewer": "default", "stranger": "other"}
"""Everybody who looks, and the workspace that their key is of."""
MODEL = "tiny"


class HoldingEngine(FakeEngine):
    """An engine that echoes, and holds the adapters that it was given."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.held: list[str] = []

    async def adapters(self) -> list[str]:
        """What it was given."""
        return list(self.held)

    async def load_adapter(self, digest: str, content: Path) -> None:
        """Hold one."""
        if digest not in self.held:
            self.held.append(digest)


@dataclass(frozen=True)
class Seeded:
    """What every test starts from: a database to copy, a home to copy, keys by who has them, ids by workspace and kind."""

    database: str
    home: Path
    keys: Mapping[str, str]
    things: Mapping[str, Things]
    workspaces: Mapping[str, UUID]


class Browser:
    """Somebody's browser: an HTTP client with their session's cookie, which follows no redirect by itself."""

    def __init__(self, http: httpx.AsyncClient, workspace: str) -> None:
        self.http, self.workspace, self._csrf = http, workspace, ""

    def href(self, path: str, **query: Any) -> str:
        """The address of a page by its path in the workspace; one that begins with /console stays as it is."""
        whole = path if path.startswith("/console") else f"/console/w/{quote(self.workspace)}{path}"
        return whole + (f"?{urlencode(query, doseq=True)}" if query else "")

    async def get(self, path: str, **query: Any) -> httpx.Response:
        """Look at a page."""
        return await self.http.get(self.href(path, **query))

    async def page(self, path: str, **query: Any) -> str:
        """A page's HTML; it must be there."""
        answer = await self.get(path, **query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {text_of(answer.text)[:500]}"
        return answer.text

    async def csrf(self) -> str:
        """The token that this session's pages carry."""
        if not self._csrf:
            self._csrf = parse(await self.page("/")).find("meta", name="csrf").attrs["content"]
        return self._csrf

    async def post(self, path: str, form: Mapping[str, Any] | None = None, *, scripted: bool = True) -> httpx.Response:
        """Send a form, with the page's token; `scripted`: as htmx sends it, or else as a browser without scripts."""
        fields = {security.CSRF_FIELD: await self.csrf(), **(form or {})}
        headers = {"hx-request": "true"} if scripted else {}
        return await self.http.post(self.href(path), data=fields, headers=headers)

    async def said(self, path: str, form: Mapping[str, Any] | None = None) -> str:
        """What the console says to a form."""
        answer = await self.post(path, form)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        return parse(answer.text).text()

    @property
    def cookie(self) -> str:
        """The session's cookie."""
        return self.http.cookies[security.COOKIE]


@dataclass
class World:
    """A running console. `things` are ids by kind in the workspace `default`, `foreign` the same in `other`."""

    wiring: Wiring
    app: Front
    engine: HoldingEngine
    model: FakeModel
    seeded: Seeded
    home: Path
    _clients: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def things(self) -> Things:
        """Ids of the workspace `default`."""
        return self.seeded.things["default"]

    @property
    def foreign(self) -> Things:
        """Ids of the workspace `other`."""
        return self.seeded.things["other"]

    @property
    def workspace_id(self) -> UUID:
        """The id of the workspace `default`."""
        return self.seeded.workspaces["default"]

    def tx(self, workspace: str = "default") -> Any:
        """A transaction in a workspace."""
        return self.wiring.database.workspace(self.seeded.workspaces[workspace], "key:test")

    def http(self, **options: Any) -> httpx.AsyncClient:
        """A client of the whole application without any credentials; it is closed with the world."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url=ADDRESS, **options)
        self._clients.append(client)
        return client

    def rest(self, who: str = "operator") -> httpx.AsyncClient:
        """A client of the REST API with somebody's key."""
        return self.http(headers={"authorization": f"Bearer {self.seeded.keys[who]}"})

    async def browser(self, who: str = "developer") -> Browser:
        """Somebody's browser, signed in with their key: `operator`, `developer`, `viewer`, or `stranger` of `other`."""
        client = self.http(headers={"user-agent": f"Browser of {who}"})
        answer = await client.post("/console/sign-in", data={"credential": self.seeded.keys[who]})
        assert answer.status_code == 303, text_of(answer.text)
        return Browser(client, WHO[who])

    def furniture(self, workspace: str = "default") -> Furniture:
        """What makes more things in a workspace; see `seed`."""
        things = dict(self.seeded.things[workspace])
        workspace_id = self.seeded.workspaces[workspace]
        return Furniture(self.wiring, self.rest(), workspace, workspace_id, _prefix(workspace), things)

    async def log(self, *wanted: dict[str, Any]) -> list[UUID]:
        """Write more inferences of `default` into the log; see `furniture.log` for what each may say."""
        return await log(self.furniture(), self.home, list(wanted))

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            await client.aclose()


def installation(home: Path, database_url: str, migration_url: str) -> Installation:
    """The installation at `home`, whose one engine has a model file to train on."""
    model = home / "tiny.gguf"
    if not model.exists():
        home.mkdir(parents=True, exist_ok=True)
        model.write_bytes(b"a model")
    local = {"plugin": "llama_cpp", "model_path": str(model), "model_name": MODEL, "convert": False}
    addresses = {"database_url": database_url, "migration_url": migration_url}
    return Installation(settings.load(home=home, engines={"local": local}, **addresses))


class Echo:
    """The one server of the model that echoes, in a thread: each test finds the model as it was made."""

    def __init__(self) -> None:
        self.model, self.address = FakeModel(), ""
        self._loop, self._leave = asyncio.new_event_loop(), asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="echo", daemon=True)

    def open(self) -> None:
        """Serve, and return once it answers."""
        self._thread.start()
        assert self._ready.wait(30), "the model's server did not start"

    def close(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(30)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with serving(self.model) as self.address:
            self._ready.set()
            await self._leave.wait()


@asynccontextmanager
async def running(at: Installation, address: str = "") -> AsyncIterator[tuple[Wiring, Front, HoldingEngine]]:
    """The product on an installation, with an engine that echoes, at `address`, in place of a real one."""
    engine, wiring = HoldingEngine(address), Wiring(at)
    wiring.engines.fixed["local"] = engine
    app = served(wiring)
    await app._start()
    try:
        yield wiring, app, engine
    finally:
        await app._stop()


async def seed(at: Installation, database: str) -> Seeded:
    """Furnish a new installation on a fresh database."""
    wiring = Wiring(at, reports=False)
    await wiring.directory.prepare()
    first = await wiring.directory.first_run()
    assert first is not None
    async with wiring.database.workspace(first.workspace_id, "key:seed") as tx:
        developer = await wiring.keys.create(tx, name="developer", role="developer")
        viewer = await wiring.keys.create(tx, name="viewer", role="viewer")
        revoked = await wiring.keys.create(tx, name="lost laptop", role="developer")
        await wiring.keys.revoke(tx, revoked.id)
    await wiring.snapshots.refresh()
    organisation = wiring.snapshots.get("keys").organisations[first.workspace_id]
    other = await wiring.directory.create_workspace(organisation, "other", "key:seed")
    async with wiring.database.workspace(other, "key:seed") as tx:
        stranger = await wiring.keys.create(tx, name="stranger", role="admin")
    await wiring.close()
    keys = {"operator": first.operator.key, "developer": developer.key, "viewer": viewer.key, "stranger": stranger.key}
    workspaces = {"default": first.workspace_id, "other": other}
    things = await _things(at, keys["operator"], workspaces)
    things["default"] |= {"key": str(developer.id), "viewer_key": str(viewer.id), "revoked_key": str(revoked.id)}
    things["other"] |= {"key": str(stranger.id)}
    return Seeded(database, at.home, keys, things, workspaces)


async def _things(at: Installation, key: str, workspaces: Mapping[str, UUID]) -> dict[str, Things]:
    found: dict[str, Things] = {}
    async with running(at) as (wiring, app, _):
        transport, headers = httpx.ASGITransport(app), {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers=headers) as rest:
            for name, workspace_id in workspaces.items():
                place = Furniture(wiring, rest, name, workspace_id, _prefix(name))
                found[name] = await furnish(place, at.home)
    for spool in at.home.glob("spool*"):
        shutil.rmtree(spool)
    return found


def seed_now(at: Installation, database: str) -> Seeded:
    """`seed`, for a fixture that lives longer than any event loop of a test."""
    return asyncio.run(seed(at, database))


def _prefix(workspace: str) -> str:
    """What the names of a workspace's things begin with: those of `other` can be told wherever they turn up."""
    return "" if workspace == "default" else "foreign-"
