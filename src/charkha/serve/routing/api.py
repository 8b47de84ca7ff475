"""Routes of what engines do now: drained or not, and how each gateway process finds them."""

import msgspec

from charkha.govern.access import Access, Caller
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.snapshot import serving, wait_until_served
from charkha.serve.routing.drains import Drains, EngineState


def router(drains: Drains, access: Access, database: Database) -> Router:
    """The routes, bound to their service. A change is served by every gateway process when it is answered."""
    api = Router(tags=["serve"])

    async def state(caller: Caller, engine: str, version: int | None = None) -> EngineState:
        gateways = await serving(database, engines=True)
        async with caller.transaction() as tx:
            return msgspec.structs.replace(await drains.state(tx, engine, gateways), served_from=version)

    @api.get("/engines/{name}/state")
    async def get_engine_state(name: str, caller: Caller = access.require("system.read")) -> EngineState:
        """Whether an engine is drained, and how each gateway process finds it: breaker, requests in flight, latency."""
        return await state(caller, name)

    @api.post("/engines/{name}/drain")
    async def drain_engine(name: str, caller: Caller = access.require("system.manage")) -> EngineState:
        """Send an engine no new requests; those that it is answering end. Nobody does when this answers."""
        async with caller.transaction() as tx:
            version = await drains.drain(tx, name)
        await wait_until_served(database, version)
        return await state(caller, name, version)

    @api.post("/engines/{name}/resume")
    async def resume_engine(name: str, caller: Caller = access.require("system.manage")) -> EngineState:
        """Let an engine serve again."""
        async with caller.transaction() as tx:
            version = await drains.resume(tx, name)
        await wait_until_served(database, version)
        return await state(caller, name, version)

    return api
