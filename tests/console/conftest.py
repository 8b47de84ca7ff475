"""The fixtures that every test of the console starts from."""

import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from charkha.kit.postgres import launcher
from tests.conftest import TEMPLATE, Urls
from tests.console.world import Echo, Seeded, World, installation, running, seed_now


@pytest.fixture(scope="session")
def seeded(migrated_server: launcher.Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """A furnished installation, to be copied; nobody is connected to its database."""
    name = f"console_{secrets.token_hex(4)}"
    urls = Urls(migrated_server, name)
    with psycopg.connect(migrated_server.urls.admin, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" OWNER charkha_owner')
        home = tmp_path_factory.mktemp("console") / "home"
        yield seed_now(installation(home, urls.database, urls.migration), name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def echo() -> Iterator[Echo]:
    """The server of the model that echoes."""
    echo = Echo()
    echo.open()
    yield echo
    echo.close()


@pytest.fixture
def console_urls(migrated_server: launcher.Running, seeded: Seeded) -> Iterator[Urls]:
    """A copy of the furnished database, dropped afterwards."""
    name = f"c_{secrets.token_hex(6)}"
    with psycopg.connect(migrated_server.urls.admin, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{seeded.database}" OWNER charkha_owner')
        yield Urls(migrated_server, name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def world(
    console_urls: Urls, seeded: Seeded, echo: Echo, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[World]:
    """A running console on copies of its own."""
    home = tmp_path / "home"
    shutil.copytree(seeded.home, home)
    echo.model.__init__()  # type: ignore[misc]
    at = installation(home, console_urls.database, console_urls.migration)
    async with running(at, echo.address) as (wiring, app, engine):
        world = World(wiring, app, engine, echo.model, seeded, home)
        yield world
        await world.close()
