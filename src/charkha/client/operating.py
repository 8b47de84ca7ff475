"""What operators see of an installation: findings of its doctor, its settings, its backups."""

from datetime import datetime

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that the doctor looked at. `mark`: ok, warning or wrong; `remedy` is empty where nothing is to do."""

    what: str
    mark: str
    told: str
    remedy: str = ""


class Setting(msgspec.Struct, frozen=True):
    """A setting in force, as text; None where it is not set, "set" where it is secret.

    `source`: default, file, environment or option; `variable` is its environment variable.
    """

    key: str
    value: str | None
    default: str | None
    source: str
    variable: str
    description: str


class BackupStarted(msgspec.Struct, frozen=True):
    """A backup that has begun: `id` is its name in the list, `file` where it will lie on the server's machine."""

    id: str
    status: str
    file: str


class Backup(msgspec.Struct, frozen=True):
    """A backup on the server's machine. `status`: running, done or failed.

    `error` says why it failed or what is damaged in it; `verified` is None until it has been verified.
    """

    name: str
    file: str
    bytes: int
    made_at: datetime
    status: str
    current_file: str | None = None
    error: str | None = None
    remedy: str | None = None
    verified: bool | None = None
