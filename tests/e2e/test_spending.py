"""Limits, prices and usage as people meet them: on the command line, with the client, and on a running installation."""

import json
import time
from decimal import Decimal

import pytest

from charkha.client import Charkha
from charkha.client.errors import ApiError
from tests.e2e.house import House
from tests.e2e.miniature import MODEL

ASKED = [{"role": "user", "content": "ba de"}]


def answers(client: Charkha) -> bool:
    """Whether a question is answered; one that is refused waits a little."""
    try:
        client.ask(MODEL, ASKED, max_tokens=4)
    except ApiError as error:
        if error.status != 429:
            raise
        time.sleep(0.5)
        return False
    return True


def test_a_key_is_limited_and_let_go_again_on_the_command_line(house: House) -> None:
    key = house.running.cli_json("keys", "create", "--name", "limited")
    made = house.running.cli_json("limits", "create", "requests", "2", "--key", key["id"], "--window", "day")
    assert (made["amount"], made["remaining"], made["subject_id"]) == (2, 2, key["id"])
    with house.running.client(key["key"]) as client:
        answered, deadline = 0, time.monotonic() + 20
        while answered < 2 and time.monotonic() < deadline:  # one of two processes may hold what the other lacks
            answered += answers(client)
        assert answered == 2
        with pytest.raises(ApiError, match="2 requests a day"):
            client.ask(MODEL, ASKED, max_tokens=4)
        listed = house.running.cli_json("limits", "list", "--subject-id", key["id"])
        assert [(each["id"], each["remaining"]) for each in listed["data"]] == [(made["id"], 0)]
        assert house.running.cli_json("limits", "set", made["id"], "1,000")["amount"] == 1_000
        client.ask(MODEL, ASKED, max_tokens=4)
        assert house.running.cli("limits", "delete", made["id"]).returncode == 0
        client.ask(MODEL, ASKED, max_tokens=4)
    done = house.running.cli("limits", "create", "money", "1.5")
    assert (done.returncode, "currency" in done.stderr) == (2, True)
    assert house.running.cli("limits", "create", "tokens", "many").returncode == 2


def test_money_is_priced_charged_and_told(house: House) -> None:
    key = house.running.cli_json("keys", "create", "--workspace", "spending", "--name", "spender")
    here = ("--workspace", "spending")
    money = house.running.cli_json("limits", "create", "money", "2.50", "--currency", "EUR", "--window", "month", *here)
    assert money["amount"] == 2_500_000
    with house.running.client(key["key"]) as client:
        with pytest.raises(ApiError, match="charkha prices add"):
            client.ask(MODEL, ASKED, max_tokens=4)
        (lacking,) = [each for each in house.running.cli_json("prices", "models", *here) if each["model"] == MODEL]
        assert (lacking["price"], lacking["missing"]) == (None, ["EUR"])
        terms = ("--currency", "EUR", "--prompt", "10", "--completion", "30.5")
        added = house.running.cli_json("prices", "add", "local", MODEL, *terms, *here)
        assert (added["prompt"], added["completion"]) == (10_000_000, 30_500_000)
        assert "30.5 EUR" in house.running.cli("prices", "list", *here).stdout
        for _ in range(3):
            client.ask(MODEL, ASKED, max_tokens=4)
        deadline = time.monotonic() + 20
        while not (rows := client.usage.list(by=["key", "model"])) or rows[0].requests < 3:
            assert time.monotonic() < deadline, rows
            time.sleep(0.1)
        (row,) = rows
        assert (row.actor, row.model, row.currency) == (f"key:{key['id']}", MODEL, "EUR")
        exact = row.prompt_tokens * 10 + row.completion_tokens * Decimal("30.5")
        assert row.cost is not None
        assert exact <= row.cost < exact + 3, "each request is rounded up"
        assert [each.amount for each in client.limits.list().data] == [2_500_000]
        assert [each.state for each in client.prices.list(engine="local").data] == ["current"]
        assert "No prices" in house.running.cli("prices", "list", "--state", "past", *here).stdout
        assert MODEL in house.running.cli("prices", "models", *here).stdout
        (limit,) = house.running.cli_json("limits", "list", "--measure", "money", "--subject", "workspace", *here)[
            "data"
        ]
        assert limit["spent"] + limit["held"] + limit["remaining"] == 2_500_000
        assert row.cost <= limit["spent"] + limit["held"]
        told = json.loads(house.running.cli("usage", "--by", "day", "--json", *here).stdout)
        assert told[0]["cost"] == row.cost
    assert "EUR" in house.running.cli("usage", *here).stdout
    by_month = house.running.cli_json("usage", "--by", "month", "--engine", "local", *here)
    assert [(each["month"][-2:], each["cost"]) for each in by_month] == [("01", row.cost)]
    assert house.running.cli_json("usage", "--engine", "another", *here) == []


def test_caches_are_set_used_told_and_cleared_on_the_command_line(house: House) -> None:
    running, here = house.running, ("--workspace", "spending")
    key = running.cli_json("keys", "create", "--workspace", "spending", "--name", "asker")
    running.cli_json("endpoints", "create", "again", "--model", MODEL, *here)
    changed = running.cli_json("caches", "set", "again", "--seconds", "600", "--max-temperature", "1", *here)
    assert (changed["cache"]["seconds"], changed["cache"]["semantic"]) == (600, None)
    with running.client(key["key"]) as client:
        said = {client.ask("again", ASKED, max_tokens=4, temperature=1).text for _ in range(6)}
        assert len(said) <= 2, "each of two processes asked at most once"
        deadline = time.monotonic() + 20
        while (use := client.caches.list().data[0]).hits + use.misses < 6:
            assert time.monotonic() < deadline, use
            time.sleep(0.1)
        assert use.hits >= 4
        assert client.endpoints.get("again").cache == use.cache
    assert "again" in running.cli("caches", "list", *here).stdout
    assert [each["cache"] for each in running.cli_json("inferences", "list", "--cache", "hit", *here)["data"]] == [
        "hit"
    ] * use.hits
    assert running.cli_json("caches", "clear", "again", *here)["gateways"]
    assert "Forgotten." in running.cli("caches", "clear", *here).stdout
    assert running.cli_json("caches", "off", "again", *here)["cache"] is None
    refused = running.cli("caches", "set", "again", "--seconds", "0", *here)
    assert (refused.returncode != 0, "null turns the cache off" in refused.stderr) == (True, True)
