"""Limits and prices over REST: who may, what is refused, what is audited, and that the gateways' picture has them."""

import time
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from charkha.govern.limits import api as limits_api
from charkha.govern.limits import store
from charkha.govern.limits.domain import span_of
from charkha.govern.limits.leases import Leases
from charkha.govern.limits.service import LimitService
from charkha.govern.limits.tables import limit_leases, limits
from charkha.govern.prices import api as prices_api
from charkha.govern.prices.coverage import Coverage
from charkha.govern.prices.ports import Use
from charkha.govern.prices.service import PRICES, PriceService, load
from charkha.govern.tables import api_keys, audit
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.snapshot import Snapshots
from tests.callers import Callers, callers

pytestmark = pytest.mark.anyio
TOKENS = {"subject": "workspace", "measure": "tokens", "window": "day", "amount": 1_000}
PRICE = {"engine": "local", "model": "tiny", "currency": "EUR", "prompt": 100, "completion": 300}


@pytest.fixture
async def snapshots(database: Database) -> Snapshots:
    """The gateways' picture, which nobody refreshes but the test."""
    snapshots = Snapshots(database, reports=False)
    snapshots.register(store.LIMITS, store.load)
    snapshots.register(PRICES, load)
    return snapshots


@pytest.fixture
async def people(database: Database, secrets_of_test: Secrets, snapshots: Snapshots) -> Callers:
    coverage = Coverage(snapshots, lambda _: [Use("local", "tiny", "support"), Use("local", "large", "")])
    people = await callers(
        database,
        secrets_of_test,
        lambda access: limits_api.router(LimitService(), access, database),
        lambda access: prices_api.router(PriceService(), coverage, access, database),
    )
    await snapshots.refresh()
    return people


async def book(database: Database) -> store.LimitBook:
    async with database.begin("charkha_system") as conn:
        return await store.load(conn)


async def test_a_limit_is_made_changed_listed_and_deleted(people: Callers, database: Database) -> None:
    async with people.client("first") as admin:
        made = await admin.post("/limits", json=TOKENS)
        assert made.status_code == 201, made.text
        limit = made.json()
        assert (limit["remaining"], limit["subject_id"]) == (1_000, str(people.workspaces["first"]))
        assert limit["resets_at"].endswith("T00:00:00Z")
        assert (await admin.post("/limits", json=TOKENS)).status_code == 409
        changed = await admin.patch(f"/limits/{limit['id']}", json={"amount": 5})
        assert (changed.json()["amount"], changed.json()["remaining"]) == (5, 5)
        assert (await admin.get(f"/limits/{limit['id']}")).json() == changed.json()
        assert [each["id"] for each in (await admin.get("/limits")).json()["data"]] == [limit["id"]]
        nobody = {"subject_id": str(uuid4())}
        assert (await admin.get("/limits", params=nobody)).json() == {"data": [], "next": None}
    assert [each.amount for each in (await book(database))[people.workspaces["first"]]] == [5]
    async with people.client("second") as stranger, people.client("viewer") as viewer:
        assert (await stranger.get(f"/limits/{limit['id']}")).status_code == 404
        assert (await stranger.get("/limits")).json()["data"] == []
        assert (await stranger.delete(f"/limits/{limit['id']}")).status_code == 403, "a developer manages no limits"
        assert (await viewer.get("/limits")).status_code == 200
        assert (await viewer.post("/limits", json=TOKENS)).status_code == 403
    async with people.client("first") as admin:
        assert (await admin.delete(f"/limits/{limit['id']}")).json()["deleted"] == limit["id"]
        assert (await admin.delete(f"/limits/{limit['id']}")).status_code == 404
    assert await book(database) == {}
    async with database.workspace(people.workspaces["first"], "test") as tx:
        done = await tx.all(sa.select(audit.c.action).where(audit.c.target_id == limit["id"]).order_by(audit.c.id))
    assert [row.action for row in done] == ["limit.created", "limit.changed", "limit.deleted"]


async def test_only_the_owner_limits_the_organisation(people: Callers, database: Database) -> None:
    wanted = {"subject": "organisation", "measure": "money", "currency": "EUR", "amount": 1}
    async with people.client("first") as admin, people.client("operator") as owner:
        assert (await admin.post("/limits", json=wanted)).status_code == 403
        made = await owner.post("/limits", json=wanted)
        assert made.status_code == 201
        assert made.json()["resets_at"] is None
        assert (await admin.patch(f"/limits/{made.json()['id']}", json={"amount": 2})).status_code == 403
        assert (await admin.delete(f"/limits/{made.json()['id']}")).status_code == 403
        assert (await admin.post("/prices", json={**PRICE, "subject": "organisation"})).status_code == 403


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"amount": -1}, 422),
        ({"amount": 10**16}, 422),
        ({"measure": "smiles"}, 422),
        ({"window": "week"}, 422),
        ({"measure": "money"}, 400),
        ({"measure": "money", "currency": "eur"}, 400),
        ({"currency": "EUR"}, 400),
        ({"measure": "concurrency"}, 400),
        ({"subject": "key"}, 400),
        ({"key_id": str(uuid4())}, 400),
        ({"subject": "key", "key_id": str(uuid4())}, 404),
    ],
)
async def test_what_is_no_limit_is_refused(people: Callers, change: dict[str, Any], status: int) -> None:
    async with people.client("first") as admin:
        answer = await admin.post("/limits", json={**TOKENS, **change})
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["remedy"]


async def test_a_key_of_another_workspace_is_limited_by_nobody_here(people: Callers, database: Database) -> None:
    async with database.workspace(people.workspaces["second"], "test") as tx:
        foreign: UUID = await tx.scalar(sa.select(api_keys.c.id).where(api_keys.c.name == "second"))
    async with people.client("first") as admin, people.client("operator") as owner:
        wanted = {**TOKENS, "subject": "key", "key_id": str(foreign)}
        assert (await admin.post("/limits", json=wanted)).status_code == 404
        there = {"x-charkha-workspace": "other"}
        assert (await owner.post("/limits", json=wanted, headers=there)).status_code == 201
    assert list(await book(database)) == [foreign]


async def test_prices_are_added_and_listed(people: Callers, database: Database) -> None:
    async with people.client("first") as admin, people.client("second") as stranger:
        added = await admin.post("/prices", json=PRICE)
        assert added.status_code == 201, added.text
        later = await admin.post("/prices", json={**PRICE, "prompt": 200, "valid_from": "2999-01-01T00:00:00Z"})
        assert later.status_code == 201
        listed = (await admin.get("/prices", params={"model": "tiny"})).json()["data"]
        assert [price["prompt"] for price in listed] == [200, 100]
        assert (await admin.get("/prices", params={"engine": "other"})).json()["data"] == []
        assert (await stranger.get("/prices")).json()["data"] == []
        assert (await stranger.post("/prices", json=PRICE)).status_code == 403
        for wrong in (
            {"currency": "€"},
            {"prompt": -1},
            {"model": ""},
            {"engine": "a\0"},
            {"valid_from": "2025-01-02T00:00:00Z", "valid_until": "2025-01-01T00:00:00Z"},
        ):
            assert (await admin.post("/prices", json={**PRICE, **wrong})).status_code in (400, 422), wrong
    async with database.begin("charkha_system") as conn:
        found = await load(conn)
    assert [price.prompt for price in found[people.workspaces["first"], "local", "tiny"]] == [200, 100]


async def test_the_state_of_a_price_is_what_the_gateways_know(people: Callers, snapshots: Snapshots) -> None:
    async with people.client("first") as admin, people.client("viewer") as viewer:
        spans: tuple[dict[str, Any], ...] = (
            {"valid_from": "2020-01-01T00:00:00Z", "valid_until": "2021-01-01T00:00:00Z"},
            {"valid_from": "2022-01-01T00:00:00Z"},
            {"valid_from": "2023-01-01T00:00:00Z", "prompt": 7},
            {"valid_from": "2999-01-01T00:00:00Z", "prompt": 8},
        )
        for span in spans:
            assert (await admin.post("/prices", json={**PRICE, **span})).status_code == 201
        await snapshots.refresh()
        states = ["upcoming", "current", "replaced", "past"]
        assert [each["state"] for each in (await viewer.get("/prices")).json()["data"]] == states
        for state in states:
            (only,) = (await viewer.get("/prices", params={"state": state})).json()["data"]
            assert only["state"] == state
        assert (await viewer.get("/prices", params={"state": "lost"})).status_code == 422
        large, tiny = (await viewer.get("/prices/models")).json()
        assert (large["model"], large["names"], large["price"], large["missing"]) == ("large", [], None, [])
        assert (tiny["names"], tiny["price"]["prompt"], tiny["upcoming"]["prompt"]) == (["support"], 7, 8)
        money = {"subject": "workspace", "measure": "money", "currency": "USD", "amount": 1}
        assert (await admin.post("/limits", json=money)).status_code == 201
        await snapshots.refresh()
        assert [each["missing"] for each in (await viewer.get("/prices/models")).json()] == [["USD"], ["USD"]]
    async with people.client("second") as stranger:
        assert [each["missing"] for each in (await stranger.get("/prices/models")).json()] == [[], []]
        assert (await stranger.get("/prices", params={"state": "current"})).json()["data"] == []


async def test_what_is_spent_and_what_gateways_hold_are_told_apart(people: Callers, database: Database) -> None:
    async with people.client("first") as admin:
        made = (await admin.post("/limits", json=TOKENS)).json()
        assert (made["spent"], made["held"], made["remaining"]) == (0, 0, 1_000)
        async with database.workspace(people.workspaces["first"], "test") as tx:
            row = await tx.one(sa.select(limits))
        assert row is not None
        limit = store.limit_of(row)
        for holder in ("one", "two"):
            await Leases(database, holder).grant(limit, span_of(limit, time.time()), 300, 0)
        async with database.workspace(people.workspaces["first"], "test") as tx:
            await tx.execute(limit_leases.update().where(limit_leases.c.holder == "one").values(replayed=100))
            await tx.execute(limit_leases.update().where(limit_leases.c.holder == "two").values(replayed=350))
        told = (await admin.get("/limits", params={"subject": "workspace", "measure": "tokens"})).json()["data"]
        assert [(each["spent"], each["held"], each["remaining"]) for each in told] == [(400, 200, 400)]
        for other in ({"subject": "key"}, {"measure": "money"}):
            assert (await admin.get("/limits", params=other)).json()["data"] == []
        lowered = await admin.patch(f"/limits/{made['id']}", json={"amount": 10})
        assert (lowered.json()["remaining"], lowered.json()["spent"]) == (0, 400), "what is spent stays spent"
