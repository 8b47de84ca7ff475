"""One installation as its processes see it: where things are, which database, which keys. Built from the settings."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from charkha.app.settings import Settings
from charkha.core.errors import Misconfigured
from charkha.kit.crypto import Secrets
from charkha.kit.postgres import launcher


@dataclass(frozen=True)
class Installation:
    """Places and addresses; nothing is opened until it is asked for."""

    settings: Settings

    @property
    def home(self) -> Path:
        """The directory of everything."""
        return self.settings.home

    @property
    def database_url(self) -> str:
        """Where processes log in as `charkha`."""
        return self.settings.database_url or launcher.urls(self.home).database

    @property
    def migration_url(self) -> str:
        """Where migrations log in as the owner. Raises Misconfigured where a database of one's own lacks it."""
        if self.settings.embedded_database:
            return launcher.urls(self.home).migration
        if self.settings.migration_url is None:
            raise Misconfigured(
                "CHARKHA_DATABASE_URL is set, but CHARKHA_MIGRATION_URL is not.",
                remedy="Set it to the same database with the login charkha_owner.",
                param="migration_url",
            )
        return self.settings.migration_url

    @cached_property
    def secrets(self) -> Secrets:
        """The master key and the pepper."""
        return Secrets.load(self.home / "secrets")

    @property
    def blobs_url(self) -> str:
        """Where files are kept."""
        return str(self.home / "blobs")

    @property
    def spool(self) -> Path:
        """Where gateways of this machine leave their records."""
        return self.home / "spool"

    @property
    def runs(self) -> Path:
        """Where training runs work."""
        return self.home / "runs"

    @property
    def models(self) -> Path:
        """Where models are kept in the forms that engines and recipes read."""
        return self.home / "models"

    @property
    def address_file(self) -> Path:
        """Tells processes of this machine where the gateway listens."""
        return self.home / "run" / "address"

    @property
    def console_socket(self) -> Path:
        """Where the console's process answers gateways of this machine."""
        return self.home / "run" / "console.sock"

    @property
    def operator_key_file(self) -> Path:
        """The key that this machine's command line uses."""
        return self.home / "secrets" / "operator.key"
