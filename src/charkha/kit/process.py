"""Child processes that cannot outlive us: spawning, stopping, and how long to wait before the next try.

Owns the boundary to the kernel's process calls (Linux). A child leads its own session and process group, and gets a
signal when its parent dies, even by `kill -9`. The kernel binds that signal to the *thread* that spawned the child:
spawn from a thread that lives as long as the child should.
"""

import contextlib
import ctypes
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Backoff:
    """Exponential waits: `first` seconds, doubling up to `most`, spread by ± `jitter` (a share) so that crowds part."""

    first: float = 0.2
    most: float = 30.0
    jitter: float = 0.2

    def delay(self, failures: int, chance: float) -> float:
        """Seconds to wait after `failures` (≥ 1) failures in a row; `chance` in [0, 1) picks a place in the spread."""
        base = min(self.most, self.first * 2.0 ** min(failures - 1, 64))
        return base * (1 + self.jitter * (2 * chance - 1))

    def draw(self, failures: int) -> float:
        """A delay with a chance drawn now."""
        return self.delay(failures, random.random())


def spawn(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    inherit_env: bool = True,
    log: Path | int | None = None,
    stdout: int | None = None,
    cwd: Path | None = None,
    nice: int = 0,
    user: tuple[int, int] | None = None,
    pass_fds: Sequence[int] = (),
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own; it gets `death_signal` when the spawning thread ends.

    `env` is laid over ours (or stands alone with `inherit_env=False`). `log` is a file to append stdout and stderr to,
    or a descriptor; None shares ours. `stdout` (for instance `subprocess.PIPE`) overrides it for stdout alone.
    `user` is a (uid, gid) to become, without other groups. Raises OSError when the program cannot be started.
    """
    uid, gid = user or (None, None)
    output = _append_to(log) if isinstance(log, Path) else log
    try:
        return subprocess.Popen(  # noqa: S603  (argv is ours; no shell)
            [os.fspath(part) for part in argv],
            env={**(os.environ if inherit_env else {}), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            cwd=cwd,
            pass_fds=pass_fds,
            user=uid,
            group=gid,
            extra_groups=None if user is None else [],
            start_new_session=True,
            preexec_fn=_bound_to_parent(os.getpid(), death_signal, nice),
        )
    finally:
        if isinstance(log, Path) and output is not None:
            os.close(output)


def _append_to(log: Path) -> int:
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _bound_to_parent(parent: int, death_signal: signal.Signals, nice: int) -> Callable[[], None]:
    """What the child does before exec. It runs after the change of user, which would clear the signal again."""

    def bind() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:  # the parent died between fork and prctl
            os._exit(1)
        if nice:
            os.nice(nice)

    return bind


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send `number` to the child and everything in its process group, if the child has not ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def terminate(process: subprocess.Popen[bytes], grace: float = 10.0, polite: signal.Signals = signal.SIGTERM) -> int:
    """Ask the child to end with `polite`; after `grace` seconds kill its whole group. Returns its exit status."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(polite)
    try:
        return process.wait(grace)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGKILL)
        return process.wait()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message; "" when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            return b"\n".join(file.read().splitlines()[-lines:]).decode(errors="replace")
    except FileNotFoundError:
        return ""


def explain(status: int) -> str:
    """An exit status in words: "exit 3", "killed by SIGSEGV"."""
    if status >= 0:
        return f"exit {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def rotate(log: Path, limit: int) -> None:
    """Move what a log holds to `NAME.1` when it is over `limit` bytes; writers, which append, just go on."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > limit:
            shutil.copy(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)
