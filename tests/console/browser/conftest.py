"""The fixtures of tests in a real Chromium: one browser and one console for all of them, where there is a Chromium."""

import secrets
import shutil
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Browser

from charkha.kit.postgres import launcher
from tests.chromium import Thread, chromium, chromium_thread
from tests.conftest import Urls
from tests.console.browser.house import House, inhabited
from tests.console.browser.looking import Looking
from tests.console.world import Echo, Seeded, installation

__all__ = ["chromium", "chromium_thread"]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run every test of this folder in the thread that speaks to Chromium."""
    thread: Thread = pyfuncitem._request.getfixturevalue("chromium_thread")
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    thread.do(pyfuncitem.obj, **wanted)
    return True


@pytest.fixture(scope="session")
def house(
    migrated_server: launcher.Running, seeded: Seeded, echo: Echo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A console that answers on a port of this machine, with a third workspace full of hostile things."""
    name = f"browser_{secrets.token_hex(4)}"
    urls = Urls(migrated_server, name)
    home = tmp_path_factory.mktemp("browser") / "home"
    shutil.copytree(seeded.home, home)
    with psycopg.connect(migrated_server.urls.admin, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{seeded.database}" OWNER charkha_owner')
        with inhabited(installation(home, urls.database, urls.migration), seeded, echo) as house:
            yield house
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def looking(chromium: Browser, house: House) -> Looking:
    """People who look at the console's pages, and what they have seen so far."""
    return Looking(chromium, house)
