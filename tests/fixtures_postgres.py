"""A real PostgreSQL for tests: one without durability for each worker of a test run, and homes that it can live in."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from charkha.kit.postgres import launcher


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for a socket, and which the server's user can pass when we are root."""
    path = Path(tempfile.mkdtemp(prefix="charkha-", dir="/tmp"))
    if os.geteuid() == 0:
        path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def charkha_home() -> Iterator[Path]:
    """An empty CHARKHA_HOME, not yet made. (pytest's own tmp_path is closed to the server's user, and long.)"""
    with short_directory() as directory:
        yield directory / "home"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[launcher.Running]:
    """A running server with its roles and the empty database `charkha`; see `Running.urls` for its addresses."""
    with short_directory() as directory:
        running = launcher.start(directory / "home", fast=True)
        try:
            yield running
        finally:
            running.stop()
