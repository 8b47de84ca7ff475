"""Fixtures that every test may use: a real PostgreSQL of its own, and a fresh database for each test."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.jobs import Jobs
from charkha.kit.postgres import launcher
from charkha.kit.postgres.migrate import upgrade
from tests.fixtures_postgres import charkha_home, postgres_server

__all__ = ["charkha_home", "postgres_server"]

TEMPLATE = "charkha"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How `pytest -n` shares the tests out."""
    from tests.scheduling import ByInstallation

    return ByInstallation(config, log)


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the product does."""
    return "asyncio"


@pytest.fixture(scope="session")
def migrated_server(postgres_server: launcher.Running) -> launcher.Running:
    """The run's embedded server, its template database migrated."""
    upgrade(postgres_server.migration_url)
    return postgres_server


class Urls:
    """The two addresses of one test's database."""

    def __init__(self, running: launcher.Running, name: str) -> None:
        self.name = name
        self.database = running.database_url.replace(f"/{TEMPLATE}?", f"/{name}?", 1)
        self.migration = running.migration_url.replace(f"/{TEMPLATE}?", f"/{name}?", 1)


@pytest.fixture
def urls(migrated_server: launcher.Running) -> Iterator[Urls]:
    """A fresh, migrated database, dropped afterwards."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(migrated_server.urls.admin, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" OWNER charkha_owner')
        yield Urls(migrated_server, name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def database(urls: Urls, anyio_backend: str) -> AsyncIterator[Database]:
    """The product's door to the test's database."""
    database = Database(urls.database, pool_size=4)
    yield database
    await database.close()


@pytest.fixture
async def jobs(urls: Urls, anyio_backend: str) -> AsyncIterator[Jobs]:
    """An open register of jobs."""
    jobs = Jobs(urls.database)
    await jobs.open()
    yield jobs
    await jobs.close()


@pytest.fixture
def secrets_of_test(tmp_path: Path) -> Secrets:
    """Fresh keys of an installation."""
    return Secrets.load(tmp_path / "secrets")


@pytest.fixture
def workspace_id() -> UUID:
    """The id of a workspace; rows need no more than the id."""
    return uuid4()
