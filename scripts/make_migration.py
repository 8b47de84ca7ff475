"""Writes a migration for the difference between the tables in the code and a freshly migrated database."""

import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command

import charkha.app.tables  # noqa: F401  (fills the metadata)
from charkha.kit.db import sqlalchemy_url
from charkha.kit.postgres import launcher
from charkha.kit.postgres.migrate import configuration, upgrade


def main(message: str) -> None:
    """Start a server, bring it to the newest revision, and let Alembic compare."""
    with tempfile.TemporaryDirectory(prefix="charkha-", dir="/tmp") as directory:
        Path(directory).chmod(0o711)
        running = launcher.start(Path(directory) / "home", fast=True)
        try:
            upgrade(running.migration_url)
            with sa.create_engine(sqlalchemy_url(running.migration_url)).connect() as connection:
                command.revision(configuration(connection), message, autogenerate=True)
        finally:
            running.stop()


if __name__ == "__main__":
    main(sys.argv[1] or "Change the tables")
