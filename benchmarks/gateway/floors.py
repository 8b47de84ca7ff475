"""Starts the floor (`floor`), as `installation` starts gateways."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gateway import parts
from benchmarks.gateway.load import Target

KEY = "charkha_sk_" + "x" * 43


@contextlib.contextmanager
def floors(upstream_port: int, count: int, cores: frozenset[int], scratch: Path) -> Iterator[tuple[Target, list[int]]]:
    """So many floors on one socket; where they are asked, and their process ids."""
    with parts.listener() as listener, contextlib.ExitStack() as stack:
        descriptor, url = listener.fileno(), f"http://127.0.0.1:{upstream_port}"
        command = [sys.executable, "-m", "benchmarks.gateway.floor", url, KEY, str(scratch / "floor"), str(descriptor)]
        children = [
            stack.enter_context(
                parts.process(command, cores, log=scratch / "floor.log", environment={}, descriptors=[descriptor])
            )
            for _ in range(count)
        ]
        target = Target(listener.getsockname()[1], "bench", {"authorization": f"Bearer {KEY}"})
        yield target, [child.pid for child in children]
