"""Is it alive, is it ready, what is it doing: the routes that probes, dashboards and `charkha status` read."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from fastapi import Response

from charkha import __version__
from charkha.core.errors import CharkhaError
from charkha.govern.access import Access, Caller, public
from charkha.kit import telemetry
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.plugins import boundary
from charkha.kit.snapshot import Snapshots, serving
from charkha.serve.ports import Engine
from charkha.serve.routing import drains


def router(database: Database, snapshots: Snapshots, engines: Mapping[str, Engine], access: Access) -> Router:
    """The routes of health."""
    api = Router(tags=["health"])

    @api.get("/healthz")
    @public
    async def alive() -> dict[str, str]:
        """This process answers."""
        return {"status": "alive", "version": __version__}

    @api.get("/readyz")
    @public
    async def ready() -> Response:
        """Keys and routes are loaded: traffic may come."""
        try:
            snapshots.get("keys")
        except (CharkhaError, KeyError):
            return Response('{"status":"starting"}', 503, {"retry-after": "1"}, "application/json")
        return Response('{"status":"ready"}', 200, None, "application/json")

    @api.get("/metrics")
    @public
    async def metrics() -> Response:
        """Prometheus metrics; no label names a tenant."""
        body, content_type = telemetry.exposition()
        return Response(body, media_type=content_type)

    @api.get("/status")
    async def status(_: Caller = access.require("system.read")) -> dict[str, Any]:
        """Gateways with the version that each serves, engines, and jobs by state, in all and in each queue."""
        queues = await _queues(database)
        return {
            "version": __version__,
            "snapshot": snapshots.version,
            "gateways": await serving(database, engines=True),
            "drained": await _drained(database),
            "engines": await _engines(engines),
            "jobs": dict(sum((Counter(states) for states in queues.values()), Counter())),
            "queues": queues,
        }

    return api


async def _engines(engines: Mapping[str, Engine]) -> dict[str, Any]:
    """What each engine says of itself, all asked at once: one that does not answer keeps no other waiting."""
    asked = dict(engines)  # others may come and go meanwhile
    told = await asyncio.gather(*(_engine(engine) for engine in asked.values()))
    return dict(zip(asked, told, strict=True))


async def _engine(engine: Engine) -> dict[str, Any]:
    try:
        with boundary(f"engine {engine.name}"):
            health = await engine.health()
    except CharkhaError as error:
        return {"status": "unreachable", "reason": error.message}
    return {"status": "ready" if health.ready else "not ready", "model": health.model, "adapters": health.adapters}


async def _drained(database: Database) -> list[str]:
    """The names of the engines that get no new requests."""
    async with database.begin("charkha_app") as conn:
        return sorted(await drains.load(conn))


async def _queues(database: Database) -> dict[str, dict[str, int]]:
    """Jobs by queue and state."""
    query = sa.text("SELECT queue_name, status::text, count(*) FROM procrastinate_jobs GROUP BY 1, 2 ORDER BY 1, 2")
    found: dict[str, dict[str, int]] = defaultdict(dict)
    async with database.begin("charkha_app") as conn:
        for queue, state, count in await conn.execute(query):
            found[queue][state] = count
    return found
