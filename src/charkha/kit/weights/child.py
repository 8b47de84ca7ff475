"""What a process that computes with weights does to itself at its start: die with its parent, step back, speak JSON.

A spawner must start such a child from a thread that lives as long as the child is wanted: Linux ties the death signal
to the parent's *thread*, so a child started from a pool's worker dies when the pool does.
"""

import ctypes
import json
import os
import signal
import sys
from typing import IO, Any, Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that ends (Linux; elsewhere nothing happens).

    What a killed child leaves is either complete or a temporary file: nothing is written in place.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent:  # the parent ended before the kernel was asked
        raise SystemExit(1)


class Reporter:
    """JSON objects, one a line, on what was standard output when this was made.

    Standard output itself is then turned to standard error, so that no library's print can break the protocol.
    """

    def __init__(self) -> None:
        self._stream: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one event. Raises BrokenPipeError when nobody reads any more."""
        self._stream.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")


def begin(niceness: int) -> Reporter:
    """Do all of it: tie to the parent, lower the priority by `niceness`, take over standard output."""
    die_with_parent()
    os.nice(niceness)
    return Reporter()
