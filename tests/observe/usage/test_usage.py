"""Usage is the sum of the log, to the token, whatever is shipped again; a dead gateway's leases come back once."""

import random
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from charkha.core.ids import uuid7
from charkha.govern.directory import Directory
from charkha.govern.keys import KeyService
from charkha.govern.limits.domain import Limit, span_of
from charkha.govern.limits.leases import Granted, Leases
from charkha.govern.limits.tables import limit_leases, limit_windows, limits
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.spool import segments
from charkha.observe.shipper import Shipper
from charkha.observe.tables import spool_offsets, usage_days
from charkha.observe.usage import api
from tests.callers import callers
from tests.observe.spooling import append, closed, gateway, opened

pytestmark = pytest.mark.anyio
SUMS = ("requests", "prompt_tokens", "completion_tokens", "cost")


async def summed(database: Database, workspace_id: UUID) -> dict[str, int]:
    async with database.workspace(workspace_id, "test") as tx:
        row = await tx.one(sa.select(*(sa.func.coalesce(sa.func.sum(usage_days.c[name]), 0) for name in SUMS)))
    assert row is not None
    return dict(zip(SUMS, map(int, row), strict=True))


async def limited(database: Database, workspace_id: UUID, amount: int) -> Limit:
    """A limit of tokens in all, as it is stored."""
    async with database.workspace(workspace_id, "test") as tx:
        values = {"subject": "workspace", "subject_id": workspace_id, "measure": "tokens", "window": "total"}
        await tx.insert(limits, id=uuid7(), amount=amount, **values)
        row = await tx.one(sa.select(limits))
    assert row is not None
    return Limit(row.id, workspace_id, "workspace", workspace_id, "tokens", "total", amount, None, row.created_at)


async def leased(database: Database, workspace_id: UUID) -> tuple[int, int]:
    """Units of the window that are gone, and how many leases there are."""
    async with database.workspace(workspace_id, "test") as tx:
        gone = await tx.scalar(sa.select(limit_windows.c.leased))
        return int(gone), int(await tx.scalar(sa.select(sa.func.count()).select_from(limit_leases)))


async def test_usage_is_the_sum_of_what_was_shipped_even_twice(
    database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer, shipper, wanted = gateway(tmp_path), Shipper(database, tmp_path), dict.fromkeys(SUMS, 0)
    for number in range(200):
        request = opened(workspace_id, actor=f"key:{number % 3}", model=f"m{number % 2}")
        used: dict[str, Any] = {
            "prompt_tokens": random.randint(0, 500),
            "completion_tokens": random.choice([None, random.randint(0, 500)]),
            "cost": random.choice([None, random.randint(0, 10**9)]),
        }
        used["currency"] = "EUR" if used["cost"] is not None else None
        append(writer, request, closed(request, **used))
        wanted["requests"] += 1
        for name in SUMS[1:]:
            wanted[name] += used[name] or 0
        if number % 50 == 0:
            await shipper.ship_once()
    await shipper.ship_once()
    assert await summed(database, workspace_id) == wanted
    shipper.close()
    async with database.begin("charkha_system") as conn:
        await conn.execute(spool_offsets.delete())
    again = Shipper(database, tmp_path)
    assert await again.ship_once() == 0, "all of it is in the log already"
    assert await summed(database, workspace_id) == wanted
    writer.close()
    again.close()


async def test_a_dead_gateways_leases_come_back_when_its_spool_is_replayed_and_not_before(
    database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    limit, shipper = await limited(database, workspace_id, 1_000), Shipper(database, tmp_path)
    span = span_of(limit, 0)
    granted = await Leases(database, "dead").grant(limit, span, 600, 0)
    assert granted == Granted(600, 400)
    await Leases(database, "alive").grant(limit, span, 100, 0)
    writer = gateway(tmp_path, "dead")
    ended = opened(workspace_id, holder="dead", reserved=[(limit.id, 0, 200)])
    append(writer, ended, closed(ended, charges=[(limit.id, 0, 30)]))
    append(writer, opened(workspace_id, holder="dead", reserved=[(limit.id, 0, 50)]))
    await shipper.ship_once()
    assert await leased(database, workspace_id) == (700, 2), "its holder lives, and so does its lease"
    writer.close()
    await shipper.ship_once()
    assert await leased(database, workspace_id) == (100 + 30 + 50, 1), "what nobody saw the end of counts as spent"
    await shipper.ship_once()
    assert await leased(database, workspace_id) == (180, 1)
    await Leases(database, "alive").give_back(limit, span.start, 40)
    assert await leased(database, workspace_id) == (140, 1)
    shipper.close()


async def test_what_a_damaged_spool_cannot_tell_counts_as_spent(
    database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    limit, shipper = await limited(database, workspace_id, 1_000), Shipper(database, tmp_path)
    await Leases(database, "dead").grant(limit, span_of(limit, 0), 600, 0)
    writer = gateway(tmp_path, "dead")
    for _ in range(3):
        ended = opened(workspace_id, holder="dead", reserved=[(limit.id, 0, 200)])
        append(writer, ended, closed(ended, charges=[(limit.id, 0, 30)]))
    writer.close()
    path = segments(tmp_path / "dead")[0]
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)
    await shipper.ship_once()
    assert not segments(tmp_path / "dead")
    assert await leased(database, workspace_id) == (600, 1)
    shipper.close()


async def test_usage_is_told_by_day_key_model_and_workspace(
    database: Database, secrets_of_test: Secrets, tmp_path: Path
) -> None:
    keys = KeyService(secrets_of_test)
    people = await callers(
        database,
        secrets_of_test,
        lambda access: api.router(Directory(database, keys), access, database),
    )
    mine, writer, shipper = people.workspaces["first"], gateway(tmp_path), Shipper(database, tmp_path)
    key = uuid4()
    for actor, model, cost in ((f"key:{key}", "a", 5), (f"key:{key}", "b", None), ("key:other", "a", 7)):
        request = opened(mine, actor=actor, model=model)
        append(writer, request, closed(request, cost=cost, currency="EUR" if cost is not None else None))
    await shipper.ship_once()
    writer.close()
    shipper.close()
    async with people.client("viewer") as viewer, people.client("second") as stranger:
        rows = (await viewer.get("/usage", params={"by": ["key", "model"]})).json()
        assert {(row["actor"], row["model"], row["currency"], row["cost"]) for row in rows} == {
            (f"key:{key}", "a", "EUR", 5),
            (f"key:{key}", "b", None, None),
            ("key:other", "a", "EUR", 7),
        }
        (row,) = (await viewer.get("/usage", params={"key_id": str(key), "model": "a"})).json()
        assert (row["requests"], row["prompt_tokens"], row["completion_tokens"]) == (1, 7, 1)
        assert row["day"]
        (month,) = (await viewer.get("/usage", params={"by": "month", "engine": "local", "model": "b"})).json()
        assert (month["month"], month["day"], month["requests"]) == (f"{row['day'][:7]}-01", None, 1)
        assert (await viewer.get("/usage", params={"engine": "another"})).json() == []
        assert (await stranger.get("/usage")).json() == []
        assert (await viewer.get("/usage", params={"by": "workspace"})).status_code == 403
        span = {"since": "2020-01-01", "until": "2026-01-01"}
        assert (await viewer.get("/usage", params=span)).status_code == 400
    async with people.client("operator") as owner:
        rows = (await owner.get("/usage", params={"by": "workspace"})).json()
        assert {(row["workspace"], row["currency"], row["requests"]) for row in rows} == {
            ("default", "EUR", 2),
            ("default", None, 1),
        }
