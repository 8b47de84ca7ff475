"""Migrations as a step of their own, under an advisory lock, run by the owner of the database."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from charkha.core.errors import Misconfigured, Unavailable
from charkha.kit.db import sqlalchemy_url

_LOCK = 8_420_001


def configuration(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration: our migrations, and the connection to run them on."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def upgrade(migration_url: str) -> str:
    """Bring the database to the newest revision and return it. Concurrent callers wait for one another."""
    engine = sa.create_engine(sqlalchemy_url(migration_url), connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(_LOCK)))
            connection.commit()
            _refuse_newer(connection)
            command.upgrade(configuration(connection), "head")
            connection.commit()
            return str(MigrationContext.configure(connection).get_current_revision())
    except sa.exc.OperationalError as error:
        raise Unavailable(
            f"The database refused the owner's connection: {str(error.orig).splitlines()[0]}",
            remedy="Check CHARKHA_MIGRATION_URL and that PostgreSQL runs.",
        ) from error
    finally:
        engine.dispose()


def _refuse_newer(connection: sa.Connection) -> None:
    """A database made by a newer Charkha is left alone."""
    current = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    if current is not None and current not in known:
        raise Misconfigured(
            f"The database is at revision {current}, which this Charkha does not know.",
            remedy="Install the version of Charkha that made it, or a newer one.",
        )
