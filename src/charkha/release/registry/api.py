"""Routes of versions, aliases and adapters."""

from typing import Any, Literal
from uuid import UUID

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field

from charkha.core.errors import TooLarge
from charkha.govern.access import Access, Caller
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.kit.snapshot import wait_until_served
from charkha.release.registry.adapters import MAX_BYTES, AdapterService
from charkha.release.registry.domain import AdapterState, Alias, Lineage, StoredFile, Version
from charkha.release.registry.service import RegistryService

_NO_NUL = r"^[^\x00]*$"  # PostgreSQL's text cannot hold it
_FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_UPLOAD = {"requestBody": {"required": True, "content": _FILE}}


class AliasIn(BaseModel):
    """Where an alias shall point."""

    model_config = ConfigDict(extra="forbid")
    version: str = Field(max_length=300, description="An id, name@number or name@alias.")


def router(registry: RegistryService, adapters: AdapterService, access: Access, database: Database) -> Router:
    """The routes, bound to their services."""
    api = Router(tags=["registry"])
    _versions(api, registry, access)
    _aliases(api, registry, access, database)
    _adapters(api, registry, adapters, access)
    return api


def _versions(api: Router, registry: RegistryService, access: Access) -> None:
    @api.get("/versions")
    async def list_versions(
        name: str | None = Query(None, max_length=200),
        ids: list[UUID] | None = Query(None, alias="id", max_length=500, description="Of these; may be repeated."),
        run_ids: list[UUID] | None = Query(None, alias="run_id", max_length=500, description="Of these runs."),
        q: str | None = Query(None, max_length=200, pattern=_NO_NUL, description="How the name begins."),
        kind: Literal["base", "adapter"] | None = None,
        endpoint_id: UUID | None = None,
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("version.read"),
    ) -> Page[Version]:
        """The workspace's versions, newest first."""
        async with caller.transaction() as tx:
            return await registry.listed(
                tx,
                name=name,
                ids=ids,
                run_ids=run_ids,
                prefix=q,
                kind=kind,
                endpoint_id=endpoint_id,
                after=after,
                limit=limit,
            )

    @api.get("/versions/{reference}")
    async def get_version(reference: str, caller: Caller = access.require("version.read")) -> Version:
        """A version by id, name@number or name@alias."""
        async with caller.transaction() as tx:
            return await registry.get(tx, reference)

    @api.get("/versions/{reference}/files")
    async def list_files(reference: str, caller: Caller = access.require("version.read")) -> list[StoredFile]:
        """The files that a version is stored in, with their sizes in bytes."""
        async with caller.transaction() as tx:
            return await registry.files(tx, reference)

    @api.get("/versions/{reference}/lineage")
    async def get_lineage(
        reference: str,
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("lineage.read"),
    ) -> Lineage:
        """What a version was made of: its run, its data, and a page of the inferences behind them."""
        async with caller.transaction() as tx:
            return await registry.lineage(tx, reference, after=after, limit=limit)


def _aliases(api: Router, registry: RegistryService, access: Access, database: Database) -> None:
    @api.get("/aliases")
    async def list_aliases(
        name: str | None = Query(None, max_length=200),
        version_id: list[UUID] = Query([], max_length=500, description="Those that point at these versions only."),
        caller: Caller = access.require("version.read"),
    ) -> list[Alias]:
        """Where each alias points."""
        async with caller.transaction() as tx:
            return await registry.aliases(tx, name, version_id)

    @api.put("/aliases/{name}/{alias}")
    async def set_alias(
        name: str, alias: str, body: AliasIn, caller: Caller = access.require("release.promote")
    ) -> dict[str, Any]:
        """Point an alias at a version, and wait until every gateway process follows it."""
        async with caller.transaction() as tx:
            found, shown = await registry.set_alias(tx, name, alias, body.version)
        return {"alias": found, "gateways": await wait_until_served(database, shown)}

    @api.delete("/aliases/{name}/{alias}")
    async def drop_alias(name: str, alias: str, caller: Caller = access.require("release.promote")) -> dict[str, Any]:
        """Remove an alias, and wait until every gateway process has forgotten it."""
        async with caller.transaction() as tx:
            shown = await registry.drop_alias(tx, name, alias)
        return {"dropped": f"{name}@{alias}", "gateways": await wait_until_served(database, shown)}


def _adapters(api: Router, registry: RegistryService, adapters: AdapterService, access: Access) -> None:
    @api.get("/adapters")
    async def list_adapters(
        name: str | None = Query(None, max_length=200),
        q: str | None = Query(None, max_length=200, pattern=_NO_NUL, description="How the name begins."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("adapter.read"),
    ) -> Page[AdapterState]:
        """The workspace's adapters, newest first: warm or cold on each engine."""
        warm = await adapters.warm()
        async with caller.transaction() as tx:
            return await adapters.listed(tx, warm, name=name, prefix=q, after=after, limit=limit)

    @api.post("/adapters", status_code=201, openapi_extra=_UPLOAD)
    async def bring_adapter(
        request: Request,
        name: str = Query(max_length=200, description="The name that it becomes a version of."),
        base: str = Query(max_length=300, description="The version of the base model that it was trained on."),
        caller: Caller = access.require("adapter.write"),
    ) -> Version:
        """Register a GGUF LoRA adapter (the body) of your own. An engine checks it first."""
        content = await _body(request)
        async with caller.transaction() as tx:
            on = await registry.get(tx, base)
        brought = await adapters.accept(caller.principal.workspace_id, on, name, content)
        async with caller.transaction() as tx:
            return await adapters.register(tx, on, name, brought)


async def _body(request: Request) -> bytes:
    """The request's body, refused as soon as it is longer than an adapter may be."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BYTES:
            raise TooLarge(f"The adapter is larger than {MAX_BYTES >> 20} MiB.", remedy="Lower its rank.")
    return bytes(content)
