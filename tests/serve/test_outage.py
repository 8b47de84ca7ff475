"""PostgreSQL goes away under traffic and comes back: requests flow on the snapshot, no record is lost, no limit overspent.

CHARKHA_OUTAGE_SECONDS is how long it is away (4; `make chaos` has it away for 60).
"""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import aiohttp
import pytest
import sqlalchemy as sa

from charkha.govern import keyring
from charkha.govern.directory import Directory
from charkha.govern.keyring import Authenticator
from charkha.govern.keys import KeyService
from charkha.govern.limits.service import LimitService
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.postgres import launcher
from charkha.kit.postgres.migrate import upgrade
from charkha.kit.snapshot import Snapshots
from charkha.observe.shipper import Shipper
from charkha.observe.tables import inferences
from charkha.testing.fake_engine import FakeModel
from charkha.testing.serving import serving
from tests.fixtures_postgres import short_directory

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(0)]
OUTAGE = float(os.environ.get("CHARKHA_OUTAGE_SECONDS", "4"))
TOKENS, CLIENTS = 1_000_000, 4
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "word " * 20}], "max_tokens": 40}


class Answer(NamedTuple):
    """What a client got, and when."""

    at: float
    status: int
    code: str
    id: UUID
    tokens: int


class Clients:
    """Those who ask, again and again: some with a key that is limited, some with one that is not."""

    def __init__(self, url: str, limited: str, free: str) -> None:
        self._url, self._keys = url, {"limited": limited, "free": free}
        self.answers: dict[str, list[Answer]] = {"limited": [], "free": []}

    async def ask_for_ever(self, who: str) -> None:
        headers = {"authorization": f"Bearer {self._keys[who]}"}
        async with aiohttp.ClientSession(self._url, headers=headers) as http:
            while True:
                async with http.post("/v1/chat/completions", json=ASKED) as answer:
                    told = await answer.json()
                    code = told.get("error", {}).get("code", "")
                    used = told.get("usage", {}).get("total_tokens", 0)
                    identity = UUID(answer.headers["x-request-id"])
                self.answers[who].append(Answer(time.monotonic(), answer.status, code, identity, used))
                await asyncio.sleep(0.02)

    def since(self, who: str, began: float) -> Counter[tuple[int, str]]:
        """How often each answer was given since then."""
        return Counter((each.status, each.code) for each in self.answers[who] if each.at > began)


@asynccontextmanager
async def gateway(running: launcher.Running, home: Path, upstream: str) -> AsyncIterator[str]:
    """A gateway process of its own; the address at which it answers."""
    arguments = (running.database_url, str(home / "spool"), str(home / "secrets"), upstream)
    process: Process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.serve.gateway_process", *arguments, stdout=PIPE
    )
    assert process.stdout is not None
    yield (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split()[0]
    process.terminate()
    assert await process.wait() == 0


async def people(database: Database, secrets: Secrets) -> tuple[UUID, str, str]:
    """A workspace, a key of it whose tokens are limited, and one that is not limited."""
    keys, snapshots = KeyService(secrets), Snapshots(database)
    directory = Directory(database, keys)
    await directory.prepare()
    first = await directory.first_run()
    assert first is not None
    snapshots.register("keys", keyring.load)
    await snapshots.refresh()
    owner = Authenticator(secrets, snapshots).authenticate(f"Bearer {first.operator.key}")
    wanted = {"measure": "tokens", "window": "total", "amount": TOKENS, "currency": None}
    async with database.workspace(first.workspace_id, "test") as tx:
        await LimitService().create(tx, owner, subject="key", key_id=owner.key_id, **wanted)  # type: ignore[arg-type]
    return first.workspace_id, first.operator.key, first.application.key


async def logged(database: Database, workspace_id: UUID) -> Counter[UUID]:
    async with database.workspace(workspace_id, "test") as tx:
        return Counter(row.id for row in await tx.all(sa.select(inferences.c.id).where(inferences.c.status == 200)))


async def test_traffic_flows_while_postgresql_is_gone_and_nothing_is_lost(tmp_path: Path) -> None:
    with short_directory() as directory:
        server = launcher.start(directory / "home", fast=True)
        try:
            upgrade(server.migration_url)
            database, secrets = Database(server.database_url, pool_size=4), Secrets.load(tmp_path / "secrets")
            workspace_id, limited, free = await people(database, secrets)
            (tmp_path / "spool").mkdir()
            shipping = asyncio.create_task(Shipper(database, tmp_path / "spool").run())
            async with serving(FakeModel()) as upstream, gateway(server, tmp_path, upstream) as url:
                clients = Clients(url, limited, free)
                asking = [asyncio.create_task(clients.ask_for_ever(who)) for who in ("limited", "free") * CLIENTS]
                await until(lambda: len(clients.answers["limited"]) > 40)
                await asyncio.to_thread(server.stop)
                gone = time.monotonic()
                await asyncio.sleep(OUTAGE)
                here(clients, gone)
                server = await asyncio.to_thread(launcher.start, directory / "home", fast=True)
                back = time.monotonic()
                await until(lambda: (200, "") in clients.since("limited", back + 1))
                for task in asking:
                    task.cancel()
                ended = await asyncio.gather(*asking, return_exceptions=True)
                assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
            answered = {each.id for who in clients.answers.values() for each in who if each.status == 200}
            async with asyncio.timeout(60):
                while not answered <= (found := await logged(database, workspace_id)).keys():
                    await asyncio.sleep(0.1)
            assert set(found.values()) == {1}
            assert sum(each.tokens for each in clients.answers["limited"]) <= TOKENS
            shipping.cancel()
            await asyncio.gather(shipping, return_exceptions=True)
            await database.close()
        finally:
            server.stop()


def here(clients: Clients, gone: float) -> None:
    """What was answered while the database was away."""
    free, limited = clients.since("free", gone + 0.5), clients.since("limited", gone + 0.5)
    assert set(free) == {(200, "")}, free
    assert free.total() > 5
    assert set(limited) <= {(200, ""), (503, "limits_unavailable")}, limited
    print(f"[outage] {OUTAGE:g} s: free {dict(free)}, limited {dict(limited)}")


async def until(condition: object) -> None:
    async with asyncio.timeout(60):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.05)
