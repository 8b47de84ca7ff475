"""Routes of engines. They are the installation's, not a workspace's: to change them is for `system.manage`."""

from typing import Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from charkha.govern.access import Access, Caller
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.kit.snapshot import wait_until_served
from charkha.serve.providers.domain import EngineCheck, EngineView
from charkha.serve.providers.service import EngineService

_TEXT = r"^[^\x00]+$"  # PostgreSQL's text cannot hold NUL


class EngineIn(BaseModel):
    """An engine to add."""

    name: str = Field(max_length=64, pattern=_TEXT, description="1 to 64 of a-z, 0-9, _ and -.")
    plugin: str = Field("openai", max_length=64, pattern=_TEXT, description="openai or anthropic.")
    options: dict[str, Any] = Field(default_factory=dict, description="The plugin's own: url, models and more.")
    key: str | None = Field(None, max_length=4096, repr=False, description="The provider's key, if it wants one.")


class EngineChange(BaseModel):
    """Options to change."""

    options: dict[str, Any] = Field(description="Those that are not named stay; null takes the default.")


class KeyIn(BaseModel):
    """A provider's key."""

    key: str = Field(max_length=4096, repr=False, description="It is sealed, and never shown again.")


def router(engines: EngineService, access: Access, database: Database) -> Router:
    """The routes, bound to their service."""
    api = Router(tags=["serve"])
    _reading(api, engines, access)
    _changing(api, engines, access, database)

    @api.post("/engines/{name}/check")
    async def check_engine(name: str, caller: Caller = access.require("system.manage")) -> EngineCheck:
        """Ask an engine how it is, from here: whether its address is reached and its key is taken."""
        async with caller.transaction() as tx:
            found = await engines.found(tx, name)
        return await engines.check(name, found)

    return api


def _reading(api: Router, engines: EngineService, access: Access) -> None:
    @api.get("/engines")
    async def list_engines(
        after: UUID | None = None,
        limit: int = Query(50, description="Of the database; those of the settings are on the first page besides."),
        caller: Caller = access.require("system.read"),
    ) -> Page[EngineView]:
        """Engines: those of the settings, then those of the database, newest first. No key is shown."""
        async with caller.transaction() as tx:
            return await engines.listed(tx, after=after, limit=limit)

    @api.get("/engines/{name}")
    async def get_engine(name: str, caller: Caller = access.require("system.read")) -> EngineView:
        """An engine, without its key."""
        async with caller.transaction() as tx:
            return await engines.get(tx, name)


def _changing(api: Router, engines: EngineService, access: Access, database: Database) -> None:
    async def served(view: EngineView) -> EngineView:
        await wait_until_served(database, view.served_from or 0)
        return view

    @api.post("/engines", status_code=201)
    async def add_engine(body: EngineIn, caller: Caller = access.require("system.manage")) -> EngineView:
        """Add an engine. Every gateway can ask it when this is answered."""
        async with caller.transaction() as tx:
            added = await engines.add(tx, name=body.name, plugin=body.plugin, options=body.options, key=body.key)
        return await served(added)

    @api.patch("/engines/{name}")
    async def change_engine(
        name: str, body: EngineChange, caller: Caller = access.require("system.manage")
    ) -> EngineView:
        """Change an engine's options. Another URL erases its key."""
        async with caller.transaction() as tx:
            changed = await engines.change(tx, name, body.options)
        return await served(changed)

    @api.put("/engines/{name}/key")
    async def set_engine_key(name: str, body: KeyIn, caller: Caller = access.require("system.manage")) -> EngineView:
        """Set the key that an engine's provider is shown."""
        async with caller.transaction() as tx:
            changed = await engines.set_key(tx, name, body.key)
        return await served(changed)

    @api.delete("/engines/{name}")
    async def remove_engine(name: str, caller: Caller = access.require("system.manage")) -> dict[str, Any]:
        """Remove an engine and its key; refused while a live plan sends traffic to it."""
        async with caller.transaction() as tx:
            version = await engines.remove(tx, name)
        return {"served_from": version, "gateways": await wait_until_served(database, version)}
