"""Programs of ours in child processes: started, listened to line by line, told to stop, never left behind.

A program is `python -m MODULE ARGUMENT`; it reports JSON objects, one a line, on standard output, and its standard error
goes to a log. Boundary: between a job and whatever computes with weights. Start one from the event loop's own thread
and keep that thread: the kernel kills the child when the thread that started it ends (see `process`).
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from charkha.kit import telemetry
from charkha.kit.process import signal_group, spawn, terminate
from charkha.kit.weights.environment import ENVIRONMENT

log = telemetry.logger(__name__)

GRACE_SECONDS = 20.0
_LONGEST_LINE = 4 * 2**20


class Program:
    """A running program. Made by `running`."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Every object that it reports, until it closes its output; a line that is no object is logged and passed over."""
        reader = asyncio.StreamReader(limit=_LONGEST_LINE)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._child.stdout)
        try:
            while line := await reader.readline():
                try:
                    yield msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.MsgspecError:
                    log.warning("program.noise", pid=self.pid, line=line[:200].decode(errors="replace"))
        finally:
            transport.close()

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Ask it to end (SIGTERM) and go on; what is left of it after `grace` seconds is killed."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(grace, signal_group, self._child, signal.SIGKILL)

    async def ended(self, grace: float = GRACE_SECONDS) -> int:
        """Its exit status, once it has closed its output; it is killed if it then lingers for `grace` seconds."""
        return await asyncio.to_thread(_reap, self._child, grace)


@asynccontextmanager
async def running(module: str, argument: Path, *, log: Path, nice: int = 0) -> AsyncIterator[Program]:
    """Start a program; whatever happens in the block, it has ended when the block has. Raises OSError if it cannot start."""
    child = spawn(
        [sys.executable, "-m", module, argument],
        env=environment(),
        inherit_env=False,
        stdout=subprocess.PIPE,
        log=log,
        nice=nice,
    )
    try:
        yield Program(child)
    finally:
        await asyncio.shield(asyncio.to_thread(terminate, child, GRACE_SECONDS))
        if child.stdout is not None:
            child.stdout.close()


def environment() -> dict[str, str]:
    """Ours without `CHARKHA_*`, which holds addresses with passwords, and with what computing with weights needs."""
    return {key: value for key, value in os.environ.items() if not key.startswith("CHARKHA_")} | ENVIRONMENT


def _reap(child: subprocess.Popen[bytes], grace: float) -> int:
    try:
        return child.wait(grace)
    except subprocess.TimeoutExpired:
        signal_group(child, signal.SIGKILL)
        return child.wait()
