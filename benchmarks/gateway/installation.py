"""Charkha as it is run: PostgreSQL, a first key, an endpoint with a price and limits, and gateways on one socket."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from benchmarks.gateway import parts
from benchmarks.gateway.load import Target
from benchmarks.gateway.upstream import MODEL
from charkha.app.installation import Installation
from charkha.app.listener import answers
from charkha.app.preparation import prepare
from charkha.app.settings import FILE_NAME, load
from charkha.app.supervisor import LISTEN_FD
from charkha.app.up import FIRST_KEY
from charkha.app.wiring import Wiring
from charkha.govern.keyring import Principal
from charkha.govern.permissions import ALL
from charkha.kit.postgres import launcher
from charkha.serve.variants import VariantSpec

COMMAND = (sys.executable, "-m", "charkha.app.cli", "api")
ENGINE, NAME = "mock", "bench"
SETTINGS = """
[limits]
max_in_flight = 20000
[engines.{engine}]
plugin = "openai"
url = "http://127.0.0.1:{port}/v1"
api_key_env = ""
"""
MEASURES = (("requests", "minute", None), ("tokens", "day", None), ("money", "month", "EUR"))


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Where the installation of this run lives; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="charkha-", dir="/tmp") as scratch:
        Path(scratch).chmod(0o711)  # as root, the server's user has to pass
        yield Path(scratch)


@contextlib.contextmanager
def prepared(scratch: Path, upstream_port: int) -> Iterator[Installation]:
    """An installation whose database runs, with one endpoint, a price and limits that refuse nothing."""
    home = scratch / "home"
    home.mkdir(mode=0o700)
    (home / FILE_NAME).write_text(SETTINGS.format(engine=ENGINE, port=upstream_port))
    os.environ["CHARKHA_HOME"] = str(home)  # for the gateways as well, which inherit it
    installation = Installation(load())
    running = launcher.start(installation.home)
    try:
        prepare(installation, first_run=True)
        yield installation
    finally:
        running.stop()


async def furnish(installation: Installation) -> None:
    """Make the endpoint, its price and its limits."""
    wiring = Wiring(installation, reports=False)
    await wiring.jobs.open()
    await wiring.snapshots.start()
    caller = wiring.authenticator.authenticate(f"Bearer {key(installation)}")
    await _furnish(wiring, caller.organisation_id, caller.workspace_id)
    await wiring.close()


async def _furnish(wiring: Wiring, organisation_id: UUID, workspace_id: UUID) -> None:
    owner = Principal("system:bench", organisation_id, workspace_id, ALL)
    terms = {"engine": ENGINE, "model": MODEL, "currency": "EUR", "prompt": 10**6, "completion": 3 * 10**6}
    async with wiring.database.workspace(workspace_id, "bench") as tx:
        await wiring.endpoints.create(tx, name=NAME, variant=VariantSpec(engine=ENGINE, model=MODEL))
        await wiring.prices.add(tx, owner, subject="workspace", **terms)  # type: ignore[arg-type]
        for measure, window, currency in MEASURES:
            wanted = {"measure": measure, "window": window, "currency": currency, "amount": 10**12}
            await wiring.limits.create(tx, owner, subject="workspace", key_id=None, **wanted)  # type: ignore[arg-type]


def key(installation: Installation) -> str:
    """The first application's key."""
    return (installation.home / FIRST_KEY).read_text().strip()


@contextlib.contextmanager
def gateways(
    installation: Installation, count: int, cores: frozenset[int], log: Path, *, command: Sequence[str] = COMMAND
) -> Iterator[tuple[Target, list[int]]]:
    """So many `charkha api` on one socket; where they are asked, and their process ids."""
    with parts.listener() as listener, contextlib.ExitStack() as stack:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        environment = {LISTEN_FD: str(descriptor)}
        children = [
            stack.enter_context(
                parts.process(command, cores, log=log, environment=environment, descriptors=[descriptor])
            )
            for _ in range(count)
        ]
        parts.wait_until(lambda: answers("127.0.0.1", port), "The gateway", log, children[0])
        yield Target(port, NAME, {"authorization": f"Bearer {key(installation)}"}), [child.pid for child in children]
