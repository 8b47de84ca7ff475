"""The page of limits: bars that tell the truth, and changes that every gateway knows when they are answered."""

import time
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from charkha.govern.limits import store
from charkha.govern.limits.domain import span_of
from charkha.govern.limits.leases import Leases
from charkha.govern.limits.tables import limit_leases, limits
from tests.console.world import Browser, World, buttons, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio


async def made(browser: Browser, **typed: str) -> str:
    """What the form of a new limit says."""
    usual = {"holds_for": "workspace", "measure": "tokens", "window": "total", "amount": "1000", "currency": ""}
    return await browser.said("/limits", {**usual, **typed})


async def use(world: World, limit_id: str, granted: int, replayed: int) -> None:
    """A gateway leases some of a limit, and the log sees some of that spent."""
    async with world.tx() as tx:
        row = await tx.one(sa.select(limits).where(limits.c.id == UUID(limit_id)))
    assert row is not None
    limit = store.limit_of(row)
    await Leases(world.wiring.database, "gone").grant(limit, span_of(limit, time.time()), granted, 0)
    async with world.tx() as tx:
        mine = limit_leases.c.limit_id == limit.id
        await tx.execute(limit_leases.update().where(mine).values(replayed=replayed))


async def listed(world: World) -> list[dict[str, Any]]:
    """The limits as the API tells them."""
    found: list[dict[str, Any]] = (await world.rest().get("/limits")).json()["data"]
    return found


async def test_limits_are_made_for_a_key_the_workspace_and_the_organisation(world: World) -> None:
    owner = await world.browser("operator")
    assert "Limited to 1 000 tokens in all." in await made(owner)
    euros = {"measure": "money", "amount": "12.50", "currency": "eur", "window": "month"}
    assert "Limited to 12.50 EUR a month." in await made(owner, holds_for=f"key:{world.things['key']}", **euros)
    assert "Limited to 8 requests at once." in await made(
        owner, measure="concurrency", amount="8", holds_for="organisation", window="day", currency="EUR"
    )
    html = await owner.page("/limits")
    assert heading(html) == "Limits"
    found = rows(html)
    assert [row["Holds for"] for row in found] == [
        "the whole organisation",
        "developer key",
        "the whole workspace",
        "the whole workspace",
    ]
    assert [each["amount"] for each in (await listed(world))[:3]] == [8, 12_500_000, 1_000]
    assert [row["Left"] for row in found] == ["8", "12.50 EUR", "1 000", "1 000 000"]
    assert links(html)["developer"] == owner.href("/usage", key_id=world.things["key"])
    assert "There is such a limit already" in await made(owner)


async def test_a_bar_tells_what_is_spent_held_and_left(world: World) -> None:
    browser = await world.browser("viewer")
    await use(world, world.things["limit"], 850_000, 200_000)
    html = await browser.page("/limits")
    (row,) = rows(html)
    assert (row["Spent"], row["Held"], row["Left"]) == ("200 000", "650 000", "150 000")
    bar = parse(html).find("svg", class_="meter")
    assert "near" in bar.attrs["class"]
    assert bar.attrs["aria-label"].replace("\u202f", " ") == (
        "1 000 000 requests a day: 200 000 requests spent, 650 000 requests held by gateways, 150 000 requests left"
    )
    assert not [action for action in forms(html) if "/limits" in action], "a viewer changes nothing"
    assert "Add a limit" not in buttons(html)


async def test_an_amount_is_changed_and_a_limit_removed(world: World) -> None:
    owner, limit = await world.browser("operator"), world.things["limit"]
    said = await owner.said(f"/limits/{limit}/amount", {"amount": "5 000"})
    assert "The limit is 5 000 requests a day now." in said
    assert [each["amount"] for each in await listed(world)] == [5_000]
    assert "no amount" in await owner.said(f"/limits/{limit}/amount", {"amount": "12.5"})
    assert "no amount" in await owner.said(f"/limits/{limit}/amount", {"amount": "5,000"})
    assert "1 of 1 gateways hold nobody to it now." in await owner.said(f"/limits/{limit}/remove")
    assert await listed(world) == []
    assert "There is no such limit" in await owner.said(f"/limits/{limit}/remove")
    assert "No limits yet" in text_of(await owner.page("/limits"))
    actions = [row["Action"] for row in rows(await owner.page("/audit", target_kind="limit"))]
    assert actions == ["limit.deleted", "limit.changed", "limit.created"]


async def test_a_refused_amount_is_told_by_its_label(world: World) -> None:
    owner = await world.browser("operator")
    assert "Amount: '1,000' is no amount." in await made(owner, amount="1,000")
    assert "Money has a currency" in await made(owner, measure="money")
    assert len(await listed(world)) == 1


async def test_limits_are_filtered_linked_and_exported(world: World) -> None:
    owner, key = await world.browser("operator"), world.things["key"]
    await made(owner, holds_for=f"key:{key}")
    for query, amounts in (
        ({"subject": "key"}, ["1 000"]),
        ({"measure": "requests"}, ["1 000 000"]),
        ({"subject_id": key}, ["1 000"]),
    ):
        assert [row["Left"] for row in rows(await owner.page("/limits", **query))] == amounts
    assert "hold for this key too" in text_of(await owner.page("/limits", subject_id=key))
    assert "No limit has all of this." in text_of(await owner.page("/limits", measure="money"))
    told = (await owner.get("/limits", export="json", subject="key")).json()
    assert [(each["subject_id"], each["spent"], each["remaining"]) for each in told] == [(key, 0, 1_000)]
    head = (await owner.get("/limits", export="csv")).text.splitlines()[0]
    assert head.startswith("id,subject,subject_id,measure,window,amount,currency,spent,held,remaining")


async def test_many_limits_have_pages(world: World) -> None:
    owner = await world.browser("operator")
    async with world.tx() as tx:
        keys = [await world.wiring.keys.create(tx, name=f"k{number}") for number in range(55)]
        principal = world.wiring.authenticator.authenticate(f"Bearer {world.seeded.keys['operator']}")
        for key in keys:
            wanted: Any = {"subject": "key", "measure": "tokens", "window": "day", "amount": 7}
            await world.wiring.limits.create(tx, principal, key_id=key.id, **wanted)
    newest = await owner.page("/limits")
    older = (await owner.http.get(links(newest)["Older"])).text
    assert (len(rows(newest)), len(rows(older))) == (50, 6)


async def test_who_may_not_changes_nothing(world: World) -> None:
    limit = world.things["limit"]
    for who in ("viewer", "developer"):
        browser = await world.browser(who)
        for path in ("/limits", f"/limits/{limit}/amount", f"/limits/{limit}/remove"):
            assert (await browser.post(path, {"amount": "1"}, scripted=False)).status_code == 403
    admin = await world.browser("stranger")
    assert "There is no such limit" in await admin.said(f"/limits/{limit}/amount", {"amount": "1"})
    assert "organisation" not in parse(await admin.page("/limits")).find("select", id="limit-subject").text()
    refused = await admin.post(
        "/limits", {"holds_for": "organisation", "measure": "tokens", "window": "day", "amount": "1"}, scripted=False
    )
    assert refused.status_code == 403
