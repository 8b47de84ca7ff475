"""What a gateway would write: minted ids, opens and closes, and the look-ups by which tests see what was shipped."""

import time
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from charkha.core.ids import mint
from charkha.core.records import Closed, Opened, encode
from charkha.kit.db import Database
from charkha.kit.spool import SpoolWriter
from charkha.observe.tables import inference_bodies, inferences

KEY = b"k" * 32


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
