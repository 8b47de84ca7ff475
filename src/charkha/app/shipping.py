"""The shipper as a process: brings what this machine's gateways recorded to the database."""

import asyncio
import contextlib
import signal

from charkha.app.installation import Installation
from charkha.kit.db import Database
from charkha.observe.shipper import Shipper


async def run(installation: Installation) -> None:
    """Ship until SIGTERM or SIGINT. What is left in the spool then is shipped by the next one."""
    database = Database(installation.database_url, pool_size=2)
    shipping = asyncio.ensure_future(Shipper(database, installation.spool).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, shipping.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await shipping
    finally:
        await database.close()
