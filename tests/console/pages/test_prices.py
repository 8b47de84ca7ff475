"""The page of prices: what holds, what will and what did, and the models that a limit of money cannot do without."""

import pytest

from tests.console.world import Browser, World, buttons, heading, parse, rows, text_of

pytestmark = pytest.mark.anyio
TERMS = {"engine": "local", "model": "tiny", "currency": "eur", "prompt": "0.10", "completion": "0.4"}


async def added(browser: Browser, **typed: str) -> str:
    """What the form of a new price says."""
    usual = {"subject": "workspace", "valid_from": "", "valid_until": "", **TERMS}
    return await browser.said("/prices", {**usual, **typed})


async def states(browser: Browser, **query: str) -> list[tuple[str, str]]:
    """The state and the first price of each price listed."""
    found = rows(await browser.page("/prices", **query), table=1)
    return [(row["State"], row["Million read"]) for row in found]


async def test_prices_tell_what_holds_what_will_and_what_did(world: World) -> None:
    browser = await world.browser("viewer")
    html = await browser.page("/prices")
    assert heading(html) == "Prices"
    (model,) = rows(html)
    assert model["Now"].startswith("0.05 EUR read 0.20 EUR written")
    assert model["Next"].startswith("0.04 EUR read 0.20 EUR written from 2999-01-01")
    assert model["Called"].split() == ["private", "support", "tiny"]
    assert await states(browser) == [
        ("will hold", "0.04 EUR"),
        ("holds now", "0.05 EUR"),
        ("replaced", "0.07 EUR"),
        ("past", "0.09 EUR"),
    ]
    assert await states(browser, state="current") == [("holds now", "0.05 EUR")]
    assert "No price that was given" in text_of(await browser.page("/prices", engine="nowhere"))
    assert "Add a price" not in buttons(html)
    told = (await browser.get("/prices", export="json", state="upcoming")).json()
    assert [(each["prompt"], each["state"]) for each in told] == [(40_000, "upcoming")]


async def test_a_price_is_added_from_now_or_from_a_day_on(world: World) -> None:
    owner = await world.browser("operator")
    said = await added(owner)
    assert "0.10 EUR for a million tokens read, 0.40 EUR for a million written. It holds from now on." in said
    await added(owner, prompt="9", valid_from="2998-01-01T00:00", valid_until="2998-02-01T00:00")
    assert (await states(owner))[:3] == [
        ("will hold", "9.00 EUR"),
        ("holds now", "0.10 EUR"),
        ("will hold", "0.04 EUR"),
    ]
    newest = (await world.rest().get("/prices", params={"limit": 1})).json()["data"][0]
    assert (newest["valid_from"], newest["valid_until"]) == ("2998-01-01T00:00:00Z", "2998-02-01T00:00:00Z")
    for wrong, told in (
        ({"prompt": "1,50"}, "Tokens read: '1,50' is no amount."),
        ({"valid_from": "soon"}, "Begins: 'soon' is no time."),
        ({"currency": "€"}, "Money has a currency"),
        ({"valid_from": "2030-01-02T00:00", "valid_until": "2030-01-01T00:00"}, "A price ends after it begins."),
        ({"model": ""}, "model"),
        ({"prompt": ""}, "prompt"),
    ):
        assert told in await added(owner, **wrong)


async def test_a_limit_of_money_without_a_price_is_told_as_an_error_to_set_up(world: World) -> None:
    owner = await world.browser("operator")
    assert not parse(await owner.page("/prices")).find_all("div", role="note")
    money = {"subject": "workspace", "measure": "money", "window": "day", "amount": 5, "currency": "USD"}
    assert (await world.rest().post("/limits", json=money)).status_code == 201
    html = await owner.page("/prices")
    assert "1 model lacks a price that a limit of money needs." in parse(html).find("div", role="note").text()
    assert "none in USD" in rows(html)[0]["Now"]
    assert parse(html).find("input", id="price-1-currency").attrs["value"] == "USD"
    await added(owner, currency="USD")
    html = await owner.page("/prices")
    assert not parse(html).find_all("div", role="note")
    assert rows(html)[0]["Now"].startswith("0.10 USD read")


async def test_prices_are_for_who_may_see_and_give_them(world: World) -> None:
    for who in ("viewer", "developer"):
        assert (await (await world.browser(who)).post("/prices", TERMS, scripted=False)).status_code == 403
    admin = await world.browser("stranger")
    html = await admin.page("/prices")
    assert {row["Model"] for row in rows(html, table=1)} == {"foreign-tiny"}
    assert "every workspace" not in parse(html).find("select", id="new-subject").text()
    assert (await admin.post("/prices", {**TERMS, "subject": "organisation"}, scripted=False)).status_code == 403


async def test_prices_have_pages(world: World) -> None:
    async with world.tx() as tx:
        principal = world.wiring.authenticator.authenticate(f"Bearer {world.seeded.keys['operator']}")
        for number in range(55):
            price = {"engine": "local", "model": f"m{number}", "currency": "EUR", "prompt": number, "completion": 1}
            await world.wiring.prices.add(tx, principal, subject="workspace", **price)  # type: ignore[arg-type]
    browser = await world.browser("viewer")
    html = await browser.page("/prices")
    assert len(rows(html, table=1)) == 50
    older = (await browser.http.get(parse(html).find("a", rel="next").attrs["href"])).text
    assert len(rows(older, table=1)) == 9
