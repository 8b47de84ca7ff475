"""What a supervisor tells of itself: `run/supervisor.json` in the home, and the lock that says whether it is true.

Owns those two files. Read by `charkha status`, `down` and `up --detach`, from other processes.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from charkha.core.errors import Conflict, Unavailable
from charkha.kit import process
from charkha.kit.lockfile import LockFile, is_locked
from charkha.kit.postgres.cluster import make_home

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class PartState:
    """One part. `state` is waiting, starting, ready, backoff, done, stopping or stopped."""

    name: str
    state: str
    pid: int | None
    restarts: int
    last_exit: str | None


@dataclass(frozen=True)
class State:
    """A supervisor and its parts. `ready` once every part has come up; `started_at` in seconds since the epoch."""

    pid: int
    ready: bool
    started_at: float
    url: str | None
    parts: tuple[PartState, ...]


def lock_of(home: Path) -> LockFile:
    """The lock that a running supervisor of `home` holds."""
    make_home(home)
    return LockFile(home / "run" / "lock")


def write_state(home: Path, state: State) -> None:
    """Replace what is told; a reader sees the old or the new, never a part."""
    path = _path(home)
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(asdict(state)))
    scratch.rename(path)


def remove_state(home: Path) -> None:
    """Tell nothing any more."""
    _path(home).unlink(missing_ok=True)


def read_state(home: Path) -> State | None:
    """The supervisor that runs `home` now; None when none does, or it has not told of itself yet."""
    if not is_locked(home / "run" / "lock"):
        return None
    try:
        told = json.loads(_path(home).read_text())
    except FileNotFoundError:
        return None
    owner = LockFile(home / "run" / "lock").owner()
    if told["pid"] != owner:  # left by one that was killed; the new one has not written yet
        return None
    return State(**told | {"parts": tuple(PartState(**part) for part in told["parts"])})


def shut_down(home: Path, timeout: float = 60.0) -> bool:
    """Ask the supervisor of `home` to stop and wait until it has; False when none runs. Raises Conflict on a timeout."""
    path = home / "run" / "lock"
    pid = LockFile(path).owner() if is_locked(path) else None
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while is_locked(path):
        if time.monotonic() > deadline:
            raise Conflict(f"Process {pid} did not stop in {timeout:.0f} s.", remedy=f"End it: kill -9 {pid}.")
        time.sleep(_POLL_SECONDS)
    return True


def detach(
    argv: Sequence[str],
    log: Path,
    home: Path,
    *,
    timeout: float = 300.0,
    on_change: Callable[[State], None] | None = None,
) -> State:
    """Start the supervisor `argv` of `home` in a session of its own, output to `log`; return when it is ready.

    `on_change` sees how its parts come up. Raises Unavailable, with what it said, when it ends before or takes too long.
    """
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    said_before = log.stat().st_size if log.exists() else 0
    pid = _spawn_detached(argv, log)
    deadline = time.monotonic() + timeout
    seen = None
    while time.monotonic() < deadline:
        state = read_state(home)
        if state is not None and state.pid == pid and state != seen:
            seen = state
            if on_change is not None:
                on_change(state)
            if state.ready:
                return state
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            how = process.explain(os.waitstatus_to_exitcode(status))
            raise Unavailable(f"Charkha did not start ({how}):\n{_since(log, said_before)}\n", remedy=f"See {log}.")
        time.sleep(_POLL_SECONDS)
    os.kill(pid, signal.SIGTERM)
    raise Unavailable(f"Charkha was not ready in {timeout:.0f} s and was stopped.", remedy=f"See {log}.")


def _path(home: Path) -> Path:
    return home / "run" / "supervisor.json"


def _spawn_detached(argv: Sequence[str], log: Path) -> int:
    """Not `process.spawn`: this child is to outlive us."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(argv[0], list(argv), os.environ, file_actions=actions, setsid=True)


def _since(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read()[-4096:].decode(errors="replace").strip()
