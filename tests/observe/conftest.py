"""The fixture that tests of reading the log start from."""

from pathlib import Path
from uuid import UUID

import pytest

from charkha.kit.db import Database
from tests.observe.spooling import Shipped


@pytest.fixture
def ship(database: Database, tmp_path: Path, workspace_id: UUID) -> Shipped:
    """Ships what a test asks for into the log of `workspace_id`."""
    return Shipped(database, tmp_path, workspace_id)
