"""The operator's routes: who may, what a viewer is not shown, and a backup over REST from its order to its check."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from charkha.app import operating, settings
from charkha.app.installation import Installation
from charkha.app.settings_table import handed_down
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from tests.callers import Callers, callers
from tests.conftest import Urls

pytestmark = pytest.mark.anyio


@pytest.fixture
def installation(urls: Urls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """A home with a settings file that holds secrets, on a real database."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "charkha.toml").write_text(
        "[training]\nnice = 3\n[engines.far]\nplugin = 'openai'\napi_key = 'hunter2'\n"
        "url = 'https://x.example/?token=hunter2'\nheaders = {secrets = {a = 'hunter2'}}\n"
    )
    monkeypatch.setenv("CHARKHA_HOME", str(home))
    monkeypatch.setenv("CHARKHA_LIMITS__REQUEST_SECONDS", "9")
    made = Installation(settings.load(database_url=urls.database, migration_url=urls.migration))
    assert made.secrets
    return made


@pytest.fixture
async def people(installation: Installation, database: Database, secrets_of_test: Secrets) -> Callers:
    return await callers(database, secrets_of_test, lambda access: operating.router(installation, access))


async def test_only_an_owner_is_told_of_settings_and_backups(people: Callers) -> None:
    calls = [("GET", "/settings"), ("GET", "/backups"), ("POST", "/backups"), ("POST", "/backups/x.zip/verify")]
    for who in ("viewer", "first", "second"):
        async with people.client(who) as client:
            for method, path in calls:
                answer = await client.request(method, path)
                assert answer.status_code == 403, (who, path)
                assert answer.json()["error"]["remedy"]


async def test_a_viewer_gets_the_findings_without_paths(people: Callers, installation: Installation) -> None:
    async with people.client("operator") as client:
        whole = (await client.get("/doctor")).json()
    async with people.client("viewer") as client:
        hidden = (await client.get("/doctor")).json()
    assert str(installation.home) in str(whole)
    assert str(installation.home.parent) not in str(hidden)
    assert "$CHARKHA_HOME" in str(hidden)
    assert [(each["what"], each["mark"]) for each in hidden] == [(each["what"], each["mark"]) for each in whole]
    assert all(each.keys() == {"what", "mark", "told", "remedy"} for each in hidden)


async def test_settings_tell_value_default_and_source_and_no_secret(
    people: Callers, installation: Installation
) -> None:
    async with people.client("operator") as client:
        answer = await client.get("/settings")
    assert "hunter2" not in answer.text
    rows: dict[str, dict[str, Any]] = {row["key"]: row for row in answer.json()}
    assert rows["training.nice"] == {
        "key": "training.nice",
        "value": "3",
        "default": "10",
        "source": "file",
        "variable": "CHARKHA_TRAINING__NICE",
        "description": "niceness of a training run (19 yields most)",
    }
    assert (rows["limits.request_seconds"]["source"], rows["limits.request_seconds"]["value"]) == ("environment", "9.0")
    assert rows["database_url"]["source"] == "option"
    assert (rows["tls_key"]["value"], rows["tls_key"]["default"]) == (None, None)
    assert "api_key: set" in rows["engines"]["value"]
    assert rows["engines"]["default"] == "{local: {plugin: llama_cpp}}"
    assert rows["home"]["value"] == str(installation.home) != rows["home"]["default"]


async def test_what_up_hands_down_is_told_as_what_a_person_did(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in handed_down(settings.load(port=0), "home", "port").items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("CHARKHA_PORT", "41000")
    rows = {row.key: row for row in operating.in_force(settings.load())}
    assert (rows["port"].value, rows["port"].source, rows["port"].default) == ("41000", "option", "8420")
    assert (rows["home"].source, rows["home"].variable) == ("environment", "CHARKHA_HOME")


async def test_a_backup_over_rest_from_order_to_check(people: Callers, installation: Installation) -> None:
    async with people.client("operator") as client:
        assert (await client.get("/backups")).json() == []
        made, again = await asyncio.gather(client.post("/backups"), client.post("/backups"))
        statuses = {made.status_code: made.json(), again.status_code: again.json()}
        assert set(statuses) == {202, 409}
        assert statuses[409]["error"]["remedy"]
        started = statuses[202]
        assert started["status"] == "running"
        assert Path(started["file"]) == installation.home / "backups" / started["id"]
        told = await _done(client)
        assert (told["name"], told["file"], told["verified"]) == (started["id"], started["file"], None)
        checked = (await client.post(f"/backups/{started['id']}/verify")).json()
        assert (checked["verified"], checked["error"]) == (True, None)
        assert (await client.get("/backups")).json() == [checked]
        unknown = await client.post("/backups/other.zip/verify")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")


async def test_an_order_is_audited_in_the_workspace_of_who_gave_it(people: Callers, database: Database) -> None:
    from charkha.govern import audit

    async with people.client("operator") as client:
        started = (await client.post("/backups")).json()
        await _done(client)
    async with database.workspace(people.workspaces["first"], "test") as tx:
        trail = await audit.listed(tx, action="backup.made")
    assert [(row.target_kind, row.target_id) for row in trail.data] == [("backup", started["id"])]
    assert trail.data[0].actor.startswith("key:")
    async with database.workspace(people.workspaces["second"], "test") as tx:
        assert (await audit.listed(tx, action="backup.made")).data == []


async def _done(client: httpx.AsyncClient) -> dict[str, Any]:
    """The newest backup once it is not being made any more; it must have been made."""
    for _ in range(500):
        newest: dict[str, Any] = (await client.get("/backups")).json()[0]
        if newest["status"] != "running":
            assert newest["status"] == "done", newest
            return newest
        await asyncio.sleep(0.05)
    raise AssertionError("it is never done")
