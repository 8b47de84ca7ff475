"""Routes of workspaces, keys and the audit trail."""

from typing import Any
from uuid import UUID

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field

from charkha.core.errors import Unavailable
from charkha.govern import audit
from charkha.govern.access import Access, Caller
from charkha.govern.directory import Directory
from charkha.govern.keys import Key, KeyService, NewKey
from charkha.kit import telemetry
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.kit.snapshot import newest, wait_until_served

log = telemetry.logger(__name__)
MOST_IDS = 500
_NO_NUL = r"^[^\x00]*$"  # PostgreSQL's text cannot hold it


class KeyIn(BaseModel):
    """What a new key shall be."""

    name: str = Field("key", max_length=200, description="What the key is for.")
    role: str = Field("developer", description="owner, admin, developer or viewer.")
    scopes: list[str] | None = Field(None, description="Narrows the role, e.g. ['feedback.*'].")
    days: float | None = Field(None, description="Days until it expires; without end if absent.")


class WorkspaceIn(BaseModel):
    """A workspace to make, or to find."""

    name: str = Field(description="1 to 64 letters, digits, '-' and '_'.")


def router(keys: KeyService, directory: Directory, access: Access, database: Database) -> Router:
    """The routes, bound to their services."""
    api = Router(tags=["govern"])

    _keys(api, keys, access, database)
    _trail(api, access)
    _workspaces(api, directory, access, database)
    return api


def _keys(api: Router, keys: KeyService, access: Access, database: Database) -> None:
    @api.post("/keys", status_code=201)
    async def create_key(body: KeyIn, caller: Caller = access.require("key.manage")) -> NewKey:
        """Make an API key. Its secret is in this answer and nowhere else; every gateway process takes it by then."""
        async with caller.transaction() as tx:
            made = await keys.create(tx, by=caller.principal.permissions, **body.model_dump())
        await _told_everywhere(database)
        return made

    @api.get("/keys")
    async def list_keys(
        ids: list[UUID] | None = Query(None, alias="id", max_length=MOST_IDS, description="Of these; may be repeated."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("key.read"),
    ) -> Page[Key]:
        """The workspace's keys."""
        async with caller.transaction() as tx:
            return await keys.listed(tx, ids=ids, after=after, limit=limit)

    @api.delete("/keys/{key_id}")
    async def revoke_key(key_id: UUID, caller: Caller = access.require("key.manage")) -> dict[str, Any]:
        """Revoke a key and wait until every gateway process refuses it."""
        async with caller.transaction() as tx:
            version = await keys.revoke(tx, key_id)
        return {"revoked": key_id, "gateways": await wait_until_served(database, version)}


def _trail(api: Router, access: Access) -> None:
    @api.get("/audit")
    async def list_audit(
        actor: str | None = Query(None, max_length=200, pattern=_NO_NUL, description="Who, such as key:<id>."),
        action: str | None = Query(None, max_length=100, pattern=_NO_NUL, description="Such as key.created."),
        target_kind: str | None = Query(None, max_length=100, pattern=_NO_NUL),
        target_id: str | None = Query(None, max_length=300, pattern=_NO_NUL),
        since: AwareDatetime | None = Query(None, description="Not before this instant."),
        until: AwareDatetime | None = Query(None, description="Before this instant."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("audit.read"),
    ) -> Page[audit.AuditRow]:
        """Who did what, newest first. A page may be short, or empty, while `next` says where to go on."""
        wanted = {"actor": actor, "action": action, "target_kind": target_kind, "target_id": target_id}
        async with caller.transaction() as tx:
            return await audit.listed(tx, **wanted, since=since, until=until, after=after, limit=limit)


def _workspaces(api: Router, directory: Directory, access: Access, database: Database) -> None:
    @api.get("/workspaces")
    async def list_workspaces(caller: Caller = access.require("workspace.read")) -> list[dict[str, Any]]:
        """The workspaces of the organisation."""
        return await directory.workspaces(caller.principal.organisation_id)

    @api.post("/workspaces", status_code=201)
    async def create_workspace(
        body: WorkspaceIn, caller: Caller = access.require("workspace.manage")
    ) -> dict[str, Any]:
        """Make a workspace, or return the one of that name; every gateway process knows it by then."""
        principal = caller.principal
        found = await directory.create_workspace(principal.organisation_id, body.name, principal.actor)
        await _told_everywhere(database)
        return {"id": found, "name": body.name}


async def _told_everywhere(database: Database) -> None:
    """Wait for every gateway process, so that what was made can be used at once; one that lags learns of it later."""
    try:
        await wait_until_served(database, await newest(database))
    except Unavailable as error:
        log.warning("gateways.lag", reason=str(error))
