"""The page "Settings and health" over REST: who sees what, and backups of a running installation with two gateways."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from charkha.client import ApiError
from charkha.client.operating import Backup
from charkha.kit.lockfile import started_at
from charkha.kit.postgres import launcher
from tests.e2e.house import House
from tests.e2e.processes import descendants, kill_process


@contextmanager
def _dump_hangs(house: House) -> Iterator[None]:
    """A backup waits for the database while the block lasts: a table is locked, as by somebody's long transaction."""
    address = launcher.urls(house.running.home).admin.replace("/postgres?", "/charkha?", 1)
    with psycopg.connect(address) as connection:
        connection.execute("LOCK TABLE suites IN ACCESS EXCLUSIVE MODE")
        yield


def _newest(house: House) -> Backup:
    """On a connection of its own: whichever gateway takes it."""
    with house.client("operator") as client:
        return client.system.backups()[0]


def _wait(house: House, *statuses: str) -> Backup:
    deadline = time.monotonic() + 60
    while (newest := _newest(house)).status not in statuses:
        assert time.monotonic() < deadline, newest
        time.sleep(0.05)
    return newest


def _gateway_of_maker(house: House) -> tuple[str, int]:
    """The part, and the pid, of the gateway whose child makes the backup."""
    state = house.running.state()
    assert state is not None
    for part in state.parts:
        if part.name.startswith("api-") and part.pid and descendants(part.pid):
            return part.name, part.pid
    raise AssertionError("no gateway has a child")


def test_an_owner_is_told_all_and_a_viewer_no_path(house: House) -> None:
    home = str(house.running.home)
    with house.client("operator") as client:
        findings = client.system.doctor()
        settings = {each.key: each for each in client.system.settings()}
    assert {each.what: each.mark for each in findings}["database"] == "ok"
    assert home in str(findings)
    assert settings["home"].value == home
    assert (settings["port"].value, settings["port"].source) == (house.running.url.rpartition(":")[2], "option")
    with house.client("viewer") as client:
        hidden = client.system.doctor()
        assert [each.what for each in hidden] == [each.what for each in findings]
        assert home not in str(hidden)
        for refused in (client.system.settings, client.system.backups, client.system.back_up):
            with pytest.raises(ApiError) as caught:
                refused()
            assert (caught.value.status, caught.value.code) == (403, "permission_denied")


def test_a_backup_over_rest_is_made_once_at_a_time_and_verifies(house: House) -> None:
    with house.client("operator") as client:
        with _dump_hangs(house):
            started = client.system.back_up()
            for _ in range(6):
                with house.client("operator") as other, pytest.raises(ApiError, match="already") as caught:
                    other.system.back_up()
                assert (caught.value.status, caught.value.code) == (409, "conflict")
                assert (_newest(house).name, _newest(house).status) == (started.id, "running")
            _, pid = _gateway_of_maker(house)
        made = _wait(house, "done", "failed")
        assert (made.name, made.status, made.error) == (started.id, "done", None)
        assert made.file == started.file == str(house.running.home / "backups" / made.name)
        assert client.system.verify(made.name).verified is True
        assert _newest(house).verified is True
        trail = client.audit.list(action="backup.made").data
    assert trail[0].target_id == made.name
    assert house.running.cli_json("backups", "list")[0]["name"] == made.name
    assert started_at(pid), "the gateway went on"


def test_a_backup_whose_gateway_is_killed_is_told_and_the_next_one_is_made(house: House) -> None:
    with _dump_hangs(house):
        with house.client("operator") as client:
            started = client.system.back_up()
        name, pid = _gateway_of_maker(house)
        kill_process(pid)
        house.running.wait_restarted(name, pid)
        failed = _wait(house, "failed")
    assert failed.name == started.id
    assert failed.error
    assert failed.remedy
    with house.client("operator") as client:
        started = client.system.back_up()
        assert _wait(house, "done").name == started.id
        assert client.system.verify(started.id).verified is True
