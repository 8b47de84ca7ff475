"""`python -m charkha.kit.postgres HOME`: the embedded PostgreSQL as a process of its own, for the supervisor.

It ends when the server ends, and shuts the server down on SIGTERM or SIGINT. Errors go to stderr, with their remedy.
"""

import argparse
import signal
import sys
import threading
from pathlib import Path

from charkha.core.errors import CharkhaError
from charkha.kit.postgres import launcher

_LOOK_SECONDS = 0.2


def main() -> int:
    """Run until told to stop (0) or until the server dies (1)."""
    parser = argparse.ArgumentParser(prog="python -m charkha.kit.postgres", description="Run the embedded PostgreSQL.")
    parser.add_argument("home", type=Path)
    parser.add_argument("--fast", action="store_true", help="give up durability, for tests")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        running = launcher.start(arguments.home, fast=arguments.fast)
    except CharkhaError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    while running.alive() and not stop.wait(_LOOK_SECONDS):
        pass
    running.stop()
    return 0 if stop.is_set() else 1


if __name__ == "__main__":
    sys.exit(main())
