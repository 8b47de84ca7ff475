"""The processes of the benchmark: started on the cores that they are to have, and what the kernel says of them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 90.0


class Cores(NamedTuple):
    """Which cores the server under test has, and which the load and the upstream share."""

    server: frozenset[int]
    load: frozenset[int]
    every: frozenset[int]

    @classmethod
    def of_machine(cls) -> "Cores":
        """The last core is the server's, the first the load's; a machine with one has the same for both."""
        every = sorted(os.sched_getaffinity(0))
        return cls(frozenset(every[-1:]), frozenset(every[:1]), frozenset(every))


def cpu_seconds(pids: Sequence[int]) -> float:
    """The processor time that processes have used: steadier than the clock on a machine that is shared."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mb(pids: Sequence[int]) -> float:
    """The memory that processes hold, in MB."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def listener() -> socket.socket:
    """A listening socket on a free loopback port, for processes to inherit."""
    return socket.create_server(("127.0.0.1", 0), backlog=4096)


@contextlib.contextmanager
def process(
    command: Sequence[str],
    cores: frozenset[int],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> Iterator[subprocess.Popen[str]]:
    """A process on some cores; ended by SIGTERM, or by force. Its errors go to `log`."""

    def settle() -> None:
        os.sched_setaffinity(0, cores)

    with log.open("ab") as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if environment is None else errors,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {})},
            pass_fds=descriptors,
            cwd=ROOT,
            preexec_fn=settle,
        )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def upstream(cores: frozenset[int], log: Path) -> Iterator[int]:
    """The mock upstream; its port."""
    with process([sys.executable, "-m", "benchmarks.gateway.upstream"], cores, log=log) as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())


def wait_until(ready: Callable[[], bool], what: str, log: Path, child: subprocess.Popen[str] | None = None) -> None:
    """Call `ready` until it is true. Ends the benchmark with the log where it takes too long."""
    give_up = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > give_up or (child is not None and child.poll() is not None):
            raise SystemExit(f"{what} did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)
