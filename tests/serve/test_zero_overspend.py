"""Two gateway processes, 64 clients and one `kill -9`: no limit is overspent, by the count of the engine itself."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
import sqlalchemy as sa

from charkha.govern import keyring
from charkha.govern.directory import Directory
from charkha.govern.keyring import Authenticator
from charkha.govern.keys import KeyService
from charkha.govern.limits.service import LimitService
from charkha.govern.limits.tables import limit_leases, limit_windows
from charkha.govern.prices.service import PriceService
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.snapshot import Snapshots
from charkha.observe.shipper import Shipper
from charkha.observe.tables import inferences, usage_days
from charkha.testing.serving import serving
from tests.conftest import Urls

pytestmark = pytest.mark.anyio
CLIENTS = 64
TOKENS, REQUESTS, MONEY = 800_000, 5_000, 10_000_000
PROMPT_PRICE, COMPLETION_PRICE = 2_000_000, 6_000_000  # 2 and 6 EUR for a million tokens
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "word " * 80}], "max_tokens": 200}
QUIET_SECONDS = 4.0


class CountingModel:
    """An engine that says what it used, and keeps the sum."""

    def __init__(self) -> None:
        self.requests = self.prompt = self.completion = 0

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        self.requests += 1
        self.prompt += (prompt := random.randint(200, 400))
        self.completion += (completion := random.randint(50, 200))
        await asyncio.sleep(0.01)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
        body = msgspec.json.encode({"id": "x", "model": "tiny", "choices": [choice], "usage": usage})
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion


class Running(NamedTuple):
    """A gateway process."""

    process: Process
    url: str
    holder: str


class House:
    """An installation with limits on its organisation, workspace and key, and what its clients saw."""

    def __init__(self, database: Database, urls: Urls, secrets: Secrets, home: Path) -> None:
        self.database, self.urls, self.secrets, self.home = database, urls, secrets, home
        self.model, self.answered, self.refused = CountingModel(), 0, 0
        self.answered_at = 0.0

    async def prepare(self) -> None:
        keys, snapshots = KeyService(self.secrets), Snapshots(self.database)
        directory = Directory(self.database, keys)
        await directory.prepare()
        first = await directory.first_run()
        assert first is not None
        self.workspace_id, self.key = first.workspace_id, first.operator.key
        snapshots.register("keys", keyring.load)
        await snapshots.refresh()
        owner = Authenticator(self.secrets, snapshots).authenticate(f"Bearer {self.key}")
        of_key = {"subject": "key", "key_id": owner.key_id}
        async with self.database.workspace(self.workspace_id, "test") as tx:
            await PriceService().add(
                tx,
                owner,
                subject="organisation",
                engine="local",
                model="tiny",
                currency="EUR",
                prompt=PROMPT_PRICE,
                completion=COMPLETION_PRICE,
            )
            for subject, measure, amount, currency in (
                (of_key, "requests", REQUESTS, None),
                ({"subject": "workspace", "key_id": None}, "tokens", TOKENS, None),
                ({"subject": "organisation", "key_id": None}, "money", MONEY, "EUR"),
            ):
                wanted = {"measure": measure, "window": "total", "amount": amount, "currency": currency}
                await LimitService().create(tx, owner, **subject, **wanted)  # type: ignore[arg-type]

    async def gateway(self, upstream: str) -> Running:
        arguments = (self.urls.database, str(self.home / "spool"), str(self.home / "secrets"), upstream)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.serve.gateway_process", *arguments, stdout=PIPE
        )
        assert process.stdout is not None
        address, holder = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split()
        return Running(process, address, holder)

    async def ask_for_ever(self, http: aiohttp.ClientSession, gateways: list[Running], turn: int) -> None:
        """One client: asks whichever process it comes to, for ever."""
        while True:
            turn += 1
            left = TOKENS - self.model.tokens
            with contextlib.suppress(aiohttp.ClientError):
                url = gateways[turn % len(gateways)].url + "/v1/chat/completions"
                async with http.post(url, json=ASKED, headers={"authorization": f"Bearer {self.key}"}) as answer:
                    told = await answer.json()
                    self.note(answer, told, left)
                    if answer.status == 200:
                        continue
            await asyncio.sleep(0.2)

    def note(self, answer: aiohttp.ClientResponse, told: dict[str, Any], left: int) -> None:
        assert answer.status in (200, 429), told
        remaining = int(answer.headers["x-ratelimit-remaining-tokens"])
        assert 0 <= remaining <= left, "remaining was told too high"
        if answer.status == 200:
            self.answered, self.answered_at = self.answered + 1, time.monotonic()
        else:
            self.refused += 1
            assert told["error"]["type"] == "rate_limit_error"
            assert int(answer.headers["retry-after"]) >= 1

    async def leases(self, holder: str) -> int:
        async with self.database.begin("charkha_system") as conn:
            query = sa.select(sa.func.count()).where(limit_leases.c.holder == holder)
            return int((await conn.execute(query)).scalar_one())


@pytest.fixture
async def house(database: Database, urls: Urls, tmp_path: Path) -> House:
    house = House(database, urls, Secrets.load(tmp_path / "secrets"), tmp_path)
    await house.prepare()
    return house


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_nothing_is_overspent_by_64_clients_two_processes_and_a_kill(house: House, database: Database) -> None:
    shipper = Shipper(database, house.home / "spool")
    (house.home / "spool").mkdir()
    async with serving(house.model) as upstream, aiohttp.ClientSession() as http:
        gateways = [await house.gateway(upstream) for _ in range(2)]
        doomed, survivor = gateways
        shipping = asyncio.create_task(shipper.run())
        clients = [asyncio.create_task(house.ask_for_ever(http, gateways, turn)) for turn in range(CLIENTS)]
        try:
            await until(lambda: _true(house.model.tokens > TOKENS * 0.4))
            os.kill(doomed.process.pid, signal.SIGKILL)
            gateways.remove(doomed)
            assert await house.leases(doomed.holder) == 3, "a dead holder's leases count as spent"
            await until(lambda: _none(house.leases(doomed.holder)))
            await until(lambda: _true(time.monotonic() - house.answered_at > QUIET_SECONDS))
        finally:
            for client in clients:
                client.cancel()
            ended = await asyncio.gather(*clients, return_exceptions=True)
        assert not [error for error in ended if isinstance(error, AssertionError)], ended
        survivor.process.terminate()
        assert await survivor.process.wait() == 0
        await until(lambda: _none(house.leases(survivor.holder)))
        shipping.cancel()
        await asyncio.gather(shipping, return_exceptions=True)
    model = house.model
    cost = (model.prompt * PROMPT_PRICE + model.completion * COMPLETION_PRICE) / 1e6
    assert house.refused
    assert model.tokens <= TOKENS
    assert model.requests <= REQUESTS
    assert cost <= MONEY
    assert TOKENS - model.tokens <= TOKENS * 0.05, "too much is stranded"
    await books_are_even(house, database)


async def books_are_even(house: House, database: Database) -> None:
    """What is leased for good is what the log says was spent; usage by day is the sum of the log, to the token."""
    async with database.workspace(house.workspace_id, "test") as tx:
        rows = await tx.all(sa.select(inferences))
        windows = {row.limit_id: row.leased for row in await tx.all(sa.select(limit_windows))}
        days = await tx.all(sa.select(usage_days))
    spent: dict[str, int] = {}
    for row in rows:
        for limit_id, _, units in row.charges["of"]:
            spent[limit_id] = spent.get(limit_id, 0) + units
    assert spent == {str(limit_id): leased for limit_id, leased in windows.items()}
    assert sum(day.requests for day in days) == len(rows)
    for name in ("prompt_tokens", "completion_tokens", "cost"):
        assert sum(getattr(day, name) for day in days) == sum(getattr(row, name) or 0 for row in rows)
    answered = [row for row in rows if row.status == 200]
    assert len(answered) >= house.answered
    assert all(row.prompt_tokens and row.cost and row.currency == "EUR" for row in answered)


async def _true(value: bool) -> bool:
    return value


async def _none(count: Awaitable[int]) -> bool:
    return await count == 0
