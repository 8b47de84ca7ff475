"""One gateway process as tests run several of: `python -m tests.serve.gateway_process DATABASE SPOOL SECRETS UPSTREAM`.

Prints its address and its holder's name, serves until SIGTERM, and hands its leases back then.
"""

import asyncio
import signal
import sys
from pathlib import Path

from charkha.govern import keyring
from charkha.govern.keyring import Authenticator
from charkha.govern.limits import store as limit_store
from charkha.govern.limits.leases import Leases
from charkha.govern.limits.meter import Meter
from charkha.govern.prices import service as price_service
from charkha.kit import wire
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.snapshot import Snapshots
from charkha.kit.spool import SpoolWriter
from charkha.serve import routes
from charkha.serve.gateway import Gateway, GatewayLimits
from charkha.testing.fake_engine import FakeEngine
from charkha.testing.serving import serving


async def no_versions(_: object) -> dict[object, object]:
    """A registry without versions."""
    return {}


async def no_adapter(*_: object) -> None:
    """Nothing asks for one."""


async def main(url: str, spool: str, secrets_home: str, upstream: str) -> None:
    """Serve until told to stop."""
    database, secrets = Database(url, pool_size=4), Secrets.load(Path(secrets_home))
    snapshots = Snapshots(database)
    for name, loader in (
        ("keys", keyring.load),
        (routes.ROUTES, routes.load),
        (routes.VERSIONS, no_versions),
        (limit_store.LIMITS, limit_store.load),
        (price_service.PRICES, price_service.load),
    ):
        snapshots.register(name, loader)
    await snapshots.start()
    holder = snapshots.id.hex
    gateway = Gateway(
        authenticator=Authenticator(secrets, snapshots),
        snapshots=snapshots,
        engines={"local": FakeEngine(upstream)},
        base_models={"tiny": ("local", "tiny")},
        session_factory=lambda: wire.Session(allowed_hosts=["127.0.0.1"]),
        spool=SpoolWriter(Path(spool) / holder, holder),
        secrets=secrets,
        limits=GatewayLimits(drain_seconds=2),
        ensure_adapter=no_adapter,
        meter=Meter(snapshots, Leases(database, holder)),
    )
    await gateway.start()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with serving(gateway) as address:
        print(address, holder, flush=True)
        await stopping.wait()
    await gateway.stop()
    await snapshots.stop()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
