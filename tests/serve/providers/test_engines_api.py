"""Engines that come, change and go while the gateway serves, and keys that nobody sees again."""

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from charkha.kit.snapshot import bump, wait_until_served

from .conftest import KEY, House

pytestmark = pytest.mark.anyio


async def test_an_engine_is_added_asked_and_removed_without_a_restart(house: House) -> None:
    assert (await house.ask()).status_code == 404
    added = await house.add()
    assert (added["source"], added["url"], added["key_ends"]) == ("database", house.url, "7Qx4")
    answer = await house.ask()
    assert answer.json()["choices"][0]["message"]["content"] == "echo: hello"
    assert house.provider.requests[-1]["model"] == "large-2026"
    assert house.provider.shown == [f"Bearer {KEY}"]
    assert "large" in [model["id"] for model in (await house.application.get("/v1/models")).json()["data"]]
    assert (await house.owner.get("/status")).json()["engines"]["far"]["status"] == "ready"
    assert (await house.owner.delete("/engines/far")).status_code == 200
    assert (await house.ask()).status_code == 404
    assert (await house.owner.get("/engines/far")).status_code == 404


async def test_engines_are_listed_with_those_of_the_settings(house: House) -> None:
    await house.add("far-1")
    await house.add("far-2")
    page = (await house.owner.get("/engines", params={"limit": 1})).json()
    assert [engine["name"] for engine in page["data"]] == ["near", "far-2"]
    rest = (await house.owner.get("/engines", params={"limit": 1, "after": page["next"]})).json()
    assert ([engine["name"] for engine in rest["data"]], rest["next"]) == (["far-1"], None)
    near = (await house.owner.get("/engines/near")).json()
    assert (near["source"], near["url"], near["key_ends"]) == ("settings", "https://near.example/v1", None)


async def test_the_key_is_in_no_answer_no_row_and_no_audit(house: House) -> None:
    said = [str(await house.add())]
    said += [(await house.owner.get(path)).text for path in ("/engines", "/engines/far", "/audit", "/status")]
    said += [(await house.owner.put("/engines/far/key", json={"key": KEY})).text]
    said += [(await house.owner.put("/engines/far/key", json={"key": KEY + " "})).text]
    said += [(await house.owner.post("/engines/far/check")).text]
    async with house.wiring.database.begin("charkha_app") as conn:
        row = (await conn.execute(sa.text("SELECT * FROM engines"))).one()
    assert row.key_sealed is not None
    said += [str(tuple(row)), str(bytes(row.key_sealed))]
    assert not [text for text in said if KEY in text]
    trail = (await house.owner.get("/audit", params={"target_kind": "engine"})).json()["data"]
    assert [row["action"] for row in trail] == ["engine.key_set", "engine.added"]


async def test_another_url_erases_the_key(house: House) -> None:
    await house.add()
    kept = await house.owner.patch("/engines/far", json={"options": {"models": {"small": "small-2026"}}})
    assert kept.json()["key_ends"] == "7Qx4"
    assert (await house.ask("small")).status_code == 200
    moved = await house.owner.patch(
        "/engines/far", json={"options": {"url": f"http://127.0.0.1:{house.inside_port}/v1"}}
    )
    assert (moved.json()["key_ends"], moved.json()["key_set_at"]) == (None, None)
    assert moved.json()["models"] == {"small": "small-2026"}
    assert (await house.ask("small")).status_code == 200
    assert house.inside.shown == [None]
    async with house.wiring.database.begin("charkha_app") as conn:
        assert (await conn.execute(sa.text("SELECT key_sealed FROM engines"))).scalar() is None
    keyed = await house.owner.put("/engines/far/key", json={"key": KEY})
    assert keyed.json()["key_ends"] == "7Qx4"
    assert (await house.ask("small")).status_code == 200
    assert house.inside.shown[-1] == f"Bearer {KEY}"


async def test_a_key_that_was_sealed_for_another_url_goes_nowhere(house: House) -> None:
    """Not even where somebody changes the row by hand."""
    await house.add()
    elsewhere = f'"http://127.0.0.1:{house.inside_port}/v1"'
    async with house.wiring.database.workspace(uuid4(), "test") as tx:
        await tx.execute(
            sa.text("UPDATE engines SET options = jsonb_set(options, '{url}', cast(:url AS jsonb))").bindparams(
                url=elsewhere
            )
        )
        version = await bump(tx)
    await wait_until_served(house.wiring.database, version)
    assert (await house.ask()).status_code == 503
    assert house.inside.shown == []
    problem = (await house.owner.get("/engines/far")).json()["problem"]
    assert "cannot be opened" in problem
    check = (await house.owner.post("/engines/far/check")).json()
    assert (check["ready"], house.inside.shown) == (False, [])
    assert (await house.owner.get("/status")).status_code == 200


async def test_a_provider_is_not_asked_by_every_look_at_the_status(house: House) -> None:
    await house.add()
    for _ in range(5):
        assert (await house.owner.get("/status")).json()["engines"]["far"]["status"] == "ready"
    assert len(house.provider.shown) == 1
    assert (await house.owner.post("/engines/far/check")).json()["ready"]
    assert len(house.provider.shown) == 2


async def test_a_check_tells_what_it_saw(house: House) -> None:
    await house.add()
    good = (await house.owner.post("/engines/far/check")).json()
    assert (good["ready"], good["detail"]) == (True, "status 200")
    await house.owner.put("/engines/far/key", json={"key": "some-other-key"})
    bad = (await house.owner.post("/engines/far/check")).json()
    assert (bad["ready"], bad["detail"]) == (False, "status 401")
    assert (await house.owner.post("/engines/nowhere/check")).status_code == 404


async def test_a_host_that_resolves_to_a_private_address_is_refused(house: House) -> None:
    url = f"https://localhost:{house.inside_port}/v1"
    await house.add("inside", options={"url": url, "models": {"hidden": "hidden"}})
    check = (await house.owner.post("/engines/inside/check")).json()
    assert check["ready"] is False
    assert "private network" in check["detail"]
    assert (await house.ask("hidden")).status_code == 503
    assert house.inside.shown == []


async def test_redirects_are_not_followed(house: House) -> None:
    await house.add()
    house.provider.redirect = f"http://127.0.0.1:{house.inside_port}/v1/models"
    check = (await house.owner.post("/engines/far/check")).json()
    assert (check["ready"], check["detail"]) == (False, "status 307")
    assert (await house.ask()).status_code == 502
    assert house.inside.shown == []


async def test_an_engine_in_use_is_not_removed(house: House) -> None:
    await house.add()
    endpoint = (await house.owner.post("/endpoints", json={"name": "support", "variant": {"model": "large"}})).json()
    assert endpoint["variants"][0]["engine"] == "far"
    assert (await house.ask("support")).status_code == 200
    refused = await house.owner.delete("/engines/far")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "engine_in_use")
    assert (await house.ask("support")).status_code == 200
    assert (await house.owner.delete(f"/endpoints/{endpoint['id']}")).status_code == 200
    assert (await house.owner.delete("/engines/far")).status_code == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "near"}, "settings have an engine"),
        ({"name": "far"}, "already"),
        ({"name": "F"}, "no name"),
        ({"plugin": "llama_cpp"}, "cannot be added"),
        ({"options": {"url": "http://example.com/v1"}}, "in the clear"),
        ({"options": {"url": "https://10.0.0.1/v1"}}, "private address"),
        ({"options": {"url": "file:///etc/passwd"}}, "url"),
        ({"options": {"url": "https://a.example/v1", "api_key_env": "HOME"}}, "no option"),
        ({"options": {"url": "https://a.example/v1", "unheard": 1}}, "unheard"),
        ({"key": "with a space"}, "none of them a space"),
    ],
)
async def test_what_cannot_be_an_engine_is_refused(house: House, change: dict[str, Any], words: str) -> None:
    await house.add()
    body = {"name": "new", "options": {"url": "https://a.example/v1"}, **change}
    refused = await house.owner.post("/engines", json=body)
    assert 400 <= refused.status_code < 500
    assert words in refused.json()["error"]["message"]


async def test_those_of_the_settings_are_changed_there(house: House) -> None:
    for method, path, body in (
        ("PATCH", "/engines/near", {"options": {}}),
        ("PUT", "/engines/near/key", {"key": KEY}),
        ("DELETE", "/engines/near", None),
    ):
        refused = await house.owner.request(method, path, json=body)
        assert refused.status_code == 409
        assert "stands in the settings" in refused.json()["error"]["message"]


async def test_anthropics_engine_can_be_added(house: House) -> None:
    added = await house.add("claude", plugin="anthropic", options={"models": {"opus": "claude-opus-5"}})
    assert (added["url"], added["options"]) == ("https://api.anthropic.com/v1", {"max_tokens": 4096})
    assert "opus" in [model["id"] for model in (await house.application.get("/v1/models")).json()["data"]]


async def test_who_may_not_manage_the_system_changes_no_engine(house: House) -> None:
    await house.add()
    for method, path in (("POST", "/engines"), ("PATCH", "/engines/far"), ("POST", "/engines/far/check")):
        answer = await house.application.request(method, path, json={"name": "x", "options": {}})
        assert answer.status_code == 403
