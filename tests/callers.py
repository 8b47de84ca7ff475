"""Callers of routes in tests: real keys, the real authenticator, and an HTTP client that speaks to an app in process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
from fastapi import FastAPI

from charkha.govern.access import Access
from charkha.govern.directory import Directory
from charkha.govern.keyring import Authenticator, load
from charkha.govern.keys import KeyService
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.http import Router, install_errors
from charkha.kit.snapshot import Snapshots


class Callers:
    """An app with one station's routes, and clients with keys of two workspaces."""

    def __init__(self, app: FastAPI, keys: dict[str, str], workspaces: dict[str, UUID]) -> None:
        self._app, self._keys, self.workspaces = app, keys, workspaces

    @asynccontextmanager
    async def client(self, who: str = "first") -> AsyncIterator[httpx.AsyncClient]:
        """A client of `operator` (the owner), `first`, `second` (another workspace) or `viewer` (of the first)."""
        transport = httpx.ASGITransport(self._app)
        headers = {"authorization": f"Bearer {self._keys[who]}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://charkha", headers=headers) as client:
            yield client


async def callers(database: Database, secrets: Secrets, *routers: Callable[[Access], Router]) -> Callers:
    """The app and its callers; each router is made from the access that it declares its permissions with."""
    keys = KeyService(secrets)
    directory = Directory(database, keys)
    await directory.prepare()
    first = await directory.first_run()
    assert first is not None
    async with database.workspace(first.workspace_id, "test") as tx:
        viewer = await keys.create(tx, name="viewer", role="viewer")
    snapshots = Snapshots(database)
    snapshots.register("keys", load)
    await snapshots.refresh()
    organisation = snapshots.get("keys").organisations[first.workspace_id]
    other = await directory.create_workspace(organisation, "other", "test")
    async with database.workspace(other, "test") as tx:
        second = await keys.create(tx, name="second", role="developer")
    await snapshots.refresh()
    access, app = Access(Authenticator(secrets, snapshots), database), FastAPI()
    for make in routers:
        app.include_router(make(access))
    install_errors(app)
    return Callers(
        app,
        {
            "operator": first.operator.key,
            "first": first.application.key,
            "second": second.key,
            "viewer": viewer.key,
        },
        {"first": first.workspace_id, "second": other},
    )
