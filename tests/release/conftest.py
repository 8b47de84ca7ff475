"""The fixture that every test of the release station starts from."""

from pathlib import Path

import pytest

from charkha.govern.directory import Directory
from charkha.govern.keys import KeyService
from charkha.kit.blobs import Blobs
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.jobs import Jobs
from tests.release.world import World


@pytest.fixture
async def world(database: Database, jobs: Jobs, secrets_of_test: Secrets, tmp_path: Path) -> World:
    """A workspace with an endpoint on a registered base."""
    directory = Directory(database, KeyService(secrets_of_test))
    await directory.prepare()
    first = await directory.first_run()
    assert first is not None
    return await World(database, jobs, Blobs(str(tmp_path / "blobs"), secrets_of_test), first).open()
