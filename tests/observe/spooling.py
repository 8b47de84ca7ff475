"""What a gateway would write: minted ids, opens and closes, and the look-ups by which tests see what was shipped."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from charkha.core.ids import mint
from charkha.core.records import Closed, Opened, encode
from charkha.kit.db import Database
from charkha.kit.spool import SpoolWriter
from charkha.observe.shipper import Shipper
from charkha.observe.tables import inference_bodies, inferences

KEY = b"k" * 32
START = datetime.now(UTC) - timedelta(hours=1)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def opened(workspace_id: UUID, inference_id: UUID | None = None, **changes: Any) -> Opened:
    values: dict[str, Any] = {
        "at_ms": time.time_ns() // 1_000_000,
        "operation": "chat",
        "model": "sorter",
        "purpose": "live",
        "actor": "key:test",
        "endpoint_id": None,
        "plan_id": None,
        "variant_id": None,
        "version_id": None,
        "engine": "local",
        "adapters": [],
        "stream": False,
        "episode_id": None,
        "subject_id": None,
        "trace_id": None,
        "request": b'{"messages":[{"role":"user","content":"Which?"}]}',
    }
    return Opened(id=inference_id or mint(KEY), workspace_id=workspace_id, **(values | changes))


def closed(of: Opened, **changes: Any) -> Closed:
    values: dict[str, Any] = {
        "at_ms": of.at_ms + 12,
        "status": 200,
        "error_code": None,
        "finish_reason": "stop",
        "prompt_tokens": 7,
        "completion_tokens": 1,
        "first_token_ms": 4.5,
        "duration_ms": 12.0,
        "answer": "net" if of.request else None,
    }
    return Closed(id=of.id, workspace_id=of.workspace_id, **(values | changes))


def append(writer: SpoolWriter, *records: Opened | Closed) -> None:
    for record in records:
        writer.append(encode(record))


def exchange(writer: SpoolWriter, workspace_id: UUID, **changes: Any) -> UUID:
    """Spool one whole inference; its id."""
    request = opened(workspace_id, **changes)
    append(writer, request, closed(request))
    return request.id


def gateway(directory: Path, instance: str = "gateway", **options: int) -> SpoolWriter:
    return SpoolWriter(directory / instance, instance, **options)


async def logged(database: Database, workspace_id: UUID, table: sa.Table = inferences) -> dict[UUID, Any]:
    """The workspace's rows, by id, as the application sees them."""
    async with database.workspace(workspace_id, "test") as tx:
        rows = await tx.all(sa.select(table).order_by(table.c.id))
    assert len({row.id for row in rows}) == len(rows)
    return {row.id: row for row in rows}


async def bodies(database: Database, workspace_id: UUID) -> dict[UUID, Any]:
    return await logged(database, workspace_id, inference_bodies)


class Shipped:
    """A log with the inferences that a test asks for."""

    def __init__(self, database: Database, directory: Path, workspace_id: UUID) -> None:
        self.database, self._directory, self._workspace_id = database, directory, workspace_id

    async def __call__(self, *wanted: dict[str, Any]) -> list[UUID]:
        """Ship one inference for each: `minute`, fields of Opened, and `end` for fields of Closed."""
        writer, ids = gateway(self._directory), []
        for changes in wanted:
            fields = dict(changes)
            end, ms = fields.pop("end", {}), int(at(fields.pop("minute", 0)).timestamp() * 1000)
            workspace = fields.pop("workspace_id", self._workspace_id)
            request = opened(workspace, mint(KEY, ms), at_ms=ms, **fields)
            append(writer, request, closed(request, **end))
            ids.append(request.id)
        writer.close()
        shipper = Shipper(self.database, self._directory)
        assert await shipper.ship_once() == len(ids)
        shipper.close()
        return ids
