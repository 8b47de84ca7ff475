"""The tables of every station"""

from charkha.kit.postgres.migrations.initial import data, evaluate, govern, kit, learn, observe, release, serve

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # No foreign key leaves its station, so the stations could come in any order; within one, `upgrade` keeps it.
    for station in (kit, govern, serve, observe, data, learn, evaluate, release):
        station.upgrade()
