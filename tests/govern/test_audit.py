"""The audit trail, read by who, what and when, in bounded pages, and never another workspace's."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from charkha.core.ids import uuid7
from charkha.govern import api, audit
from charkha.govern.directory import Directory
from charkha.govern.keys import KeyService
from charkha.govern.tables import audit as rows
from charkha.kit import paging
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database, Tx
from tests.callers import Callers, callers

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
async def app(database: Database, secrets_of_test: Secrets) -> Callers:
    keys = KeyService(secrets_of_test)
    directory = Directory(database, keys)
    return await callers(database, secrets_of_test, lambda access: api.router(keys, directory, access, database))


async def did(tx: Tx, minute: int, action: str, kind: str, target: str, actor: str = "key:ann") -> UUID:
    """A row as it would stand there if it had been done so many minutes after noon."""
    at = NOON + timedelta(minutes=minute)
    new_id = uuid7(int(at.timestamp() * 1000))
    what = {"actor": actor, "action": action, "target_kind": kind, "target_id": target, "detail": {}}
    await tx.insert(rows, id=new_id, created_at=at, **what)
    return new_id


async def test_the_trail_narrows_by_everything_that_is_given(app: Callers, database: Database) -> None:
    async with database.workspace(app.workspaces["first"], "test") as tx:
        a = await did(tx, 0, "run.requested", "run", "r1")
        b = await did(tx, 1, "run.cancelled", "run", "r1", actor="key:bob")
        c = await did(tx, 2, "run.requested", "run", "r2", actor="key:bob")
        d = await did(tx, 3, "version.registered", "version", "r1")
    until = (NOON + timedelta(minutes=4)).isoformat()
    cases: list[tuple[dict[str, Any], list[UUID]]] = [
        ({}, [d, c, b, a]),
        ({"actor": "key:bob"}, [c, b]),
        ({"action": "run.requested"}, [c, a]),
        ({"target_kind": "run"}, [c, b, a]),
        ({"target_id": "r1"}, [d, b, a]),
        ({"target_kind": "run", "target_id": "r1"}, [b, a]),
        ({"target_id": "r1", "actor": "key:bob"}, [b]),
        ({"since": (NOON + timedelta(minutes=1)).isoformat()}, [d, c, b]),
        ({"until": (NOON + timedelta(minutes=1)).isoformat()}, [a]),
        ({"actor": "nobody"}, []),
    ]
    async with app.client() as client:
        for query, expected in cases:
            found = (await client.get("/audit", params={"until": until, **query})).json()
            assert ([row["id"] for row in found["data"]], found["next"]) == ([str(each) for each in expected], None)
    async with app.client("viewer") as viewer:
        assert (await viewer.get("/audit")).status_code == 403


async def test_pages_of_a_window_miss_nothing_and_repeat_nothing(
    app: Callers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 3)
    async with database.workspace(app.workspaces["first"], "test") as tx:
        ids = [await did(tx, n, "rare" if n in (2, 9) else "usual", "run", f"r{n}") for n in range(12)]
        seen, after, pages = [], None, 0
        while pages == 0 or after is not None:
            page = await audit.listed(tx, action="rare", until=NOON + timedelta(hours=1), after=after)
            seen += [row.id for row in page.data]
            pages, after = pages + 1, page.next
        assert (seen, pages) == ([ids[9], ids[2]], 5)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", 400),
        ("since=2026-01-01T00:00:00", 422),
        ("actor=%00", 422),
        ("target_id=%ff", 200),
        ("target_id=" + "a" * 301, 422),
    ],
)
async def test_odd_questions_get_plain_answers(app: Callers, query: str, status: int) -> None:
    async with app.client() as client:
        answer: httpx.Response = await client.get(f"/audit?{query}")
    assert answer.status_code == status
