"""Where a request's processor time goes: `python -m benchmarks.gateway.costs` samples a gateway under load, by module.

The gateway runs with a clock that interrupts it up to a thousand times in a second of its processor time, and notes which
code it is in. Time inside the event loop and the kernel counts for the function that last ran.
"""

import asyncio
import collections
import contextlib
import os
import runpy
import signal
import sys
from pathlib import Path
from types import FrameType

import uvloop

from benchmarks.gateway import installation, load, parts

INTERVAL, CONNECTIONS, REQUESTS = 0.001, 16, 60_000
SETTLE_SECONDS = 1.5


class Sampler:
    """Counts where the process is: by module, and by function."""

    def __init__(self) -> None:
        self.modules: collections.Counter[str] = collections.Counter()
        self.functions: collections.Counter[str] = collections.Counter()

    def begin(self) -> None:
        """Sample from now on."""
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def tell(self) -> None:
        """Print shares in per cent, the largest first."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        for counted, most in ((self.modules, 24), (self.functions, 40)):
            print(f"--- {counted.total()} samples")
            for name, count in counted.most_common(most):
                print(f"{100 * count / counted.total():5.1f} %  {name}")

    def _note(self, _: int, frame: FrameType | None) -> None:
        if frame is not None:
            module = frame.f_globals.get("__name__", "?")
            self.modules[module] += 1
            self.functions[f"{module}.{frame.f_code.co_qualname}"] += 1


def sampled() -> None:
    """The gateway's process: `charkha api`, sampled once it has settled; tells at SIGTERM what it saw."""
    from charkha.serve.gateway import Gateway

    sampler, start = Sampler(), Gateway.start

    async def started(self: Gateway) -> None:
        await start(self)
        asyncio.get_running_loop().call_later(SETTLE_SECONDS, sampler.begin)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Gateway.start = started  # type: ignore[method-assign]
    sys.argv = ["charkha", "api"]
    with contextlib.suppress(SystemExit):
        runpy.run_module("charkha.app.cli", run_name="__main__")
    sampler.tell()


def main() -> None:
    """Start one, load it, show what it saw."""
    cores = parts.Cores.of_machine()
    os.sched_setaffinity(0, cores.load)
    with (
        installation.directory() as scratch,
        parts.upstream(cores.load, scratch / "upstream.log") as port,
        installation.prepared(scratch, port) as installed,
    ):
        uvloop.run(installation.furnish(installed))
        log, command = scratch / "gateway.log", [sys.executable, "-m", __spec__.name, "sampled"]
        with installation.gateways(installed, 1, cores.server, log, command=command) as (target, _):
            uvloop.run(load.closed(target, CONNECTIONS, requests=REQUESTS))
        print(told(log))


def told(log: Path) -> str:
    """What the sampled process told at its end."""
    return "---" + log.read_text().partition("---")[2]


if __name__ == "__main__":
    sampled() if sys.argv[1:] == ["sampled"] else main()
