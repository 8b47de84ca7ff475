"""The processes of a running installation: which there are, by kind, and an end for them without warning."""

import os
import signal
import time
from collections import defaultdict
from pathlib import Path

from charkha.kit.lockfile import started_at

_KINDS = {
    "charkha.learn.recipes": "recipe",
    "charkha.evaluate.evaluators": "evaluator",
    "llama_worker": "engine worker",
    "llama_server": "engine",
    "loom.server": "engine",
    "charkha.kit.postgres": "postgres part",
    "bin/postgres": "postmaster",
    "postgres:": "postgres backend",
    "cli api": "api",
    "cli shipper": "shipper",
    "cli worker": "worker",
}


def living(supervisor: int) -> dict[str, list[int]]:
    """The pids below a supervisor, by kind."""
    found: dict[str, list[int]] = defaultdict(list)
    for pid in descendants(supervisor):
        command = _command(pid)
        for mark, kind in _KINDS.items():
            if mark in command:
                found[kind].append(pid)
                break
    return found


def descendants(pid: int) -> list[int]:
    """The living processes below `pid`, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(int(entry.name))) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(0), [])
        found += below
        waiting += below
    return found


def kill_process(pid: int) -> bool:
    """`kill -9`; whether it was there to be killed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    deadline = time.monotonic() + 10
    while started_at(pid) and time.monotonic() < deadline:
        time.sleep(0.005)
    return True


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
