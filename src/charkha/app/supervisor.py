"""The supervisor: `charkha up` as one process that starts the parts in order, keeps them alive and ends them in reverse.

Owns the lock on a home, the listening socket and the children. A part that dies is started again after a growing wait;
the socket stays open meanwhile, so a client of a restarting gateway waits and is not refused. When the supervisor is
killed the kernel kills its children, because `run` spawns them from the thread that it stays in.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

from charkha.app.listener import bind, url_of
from charkha.app.supervisor_state import PartState, State, lock_of, remove_state, write_state
from charkha.core.errors import Conflict, Unavailable
from charkha.kit import process, telemetry

LISTEN_FD = "CHARKHA_LISTEN_FD"
_TICK_SECONDS = 0.1
_HEALTHY_SECONDS = 60.0
_LIVES_SECONDS = 1.0
_TRIES_AT_START = 3
_LOG_BYTES = 64 * 2**20

log = telemetry.logger(__name__)


@dataclass(frozen=True)
class Part:
    """One process of the product.

    It is ready when `ready` says so (asked about ten times a second, so it must be quick) or `ready_file` appears;
    without either, when it has lived for a second. `once` marks a step that is ready when it has ended well.
    `essential` parts must come up for the whole to; the others may be missing. `listens` hands it the gateway's
    socket, its number in CHARKHA_LISTEN_FD.
    """

    name: str
    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    ready_file: Path | None = None
    ready_seconds: float = 120.0
    once: bool = False
    essential: bool = True
    listens: bool = False
    nice: int = 0
    grace: float = 15.0


@dataclass
class _Child:
    """A part and how it is doing."""

    part: Part
    log: Path
    state: str = "waiting"
    process: subprocess.Popen[bytes] | None = None
    since: float = 0.0  # when the state was entered
    retry_at: float = 0.0
    failures: int = 0  # in a row
    restarts: int = 0
    came_up: bool = False
    last_exit: str | None = None

    @property
    def settled(self) -> bool:
        """Whether those after it need not wait for it any longer."""
        return self.came_up or (not self.part.essential and self.failures > 0)

    def told(self) -> PartState:
        alive = self.process is not None and self.process.returncode is None
        pid = self.process.pid if alive and self.process is not None else None
        return PartState(self.part.name, self.state, pid, self.restarts, self.last_exit)


class Supervisor:
    """The one supervisor of a home, while the `with` block lasts. Raises Conflict when there is one already."""

    def __init__(self, home: Path, *, backoff: process.Backoff | None = None) -> None:
        self.home = home
        self.listener: socket.socket | None = None
        self._url: str | None = None
        self._backoff = backoff or process.Backoff(most=10.0)
        self._lock = lock_of(home)
        self._children: list[_Child] = []
        self._stop = threading.Event()
        self._started_at = time.time()
        self._told: State | None = None

    def __enter__(self) -> "Supervisor":
        if not self._lock.acquire(wait=0.2):
            raise Conflict(
                f"Charkha already runs in {self.home} (process {self._lock.owner() or 'unknown'}).",
                remedy="Use that one, stop it (charkha down), or choose another directory with CHARKHA_HOME.",
                code="already_running",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_listener()
        remove_state(self.home)
        self._lock.release()

    def listen(self, host: str, port: int, *, secure: bool = False) -> socket.socket:
        """Bind the gateway's socket (port 0: a free one). Raises Conflict or Misconfigured, with the remedy."""
        self.listener = bind(host, port)
        self._url = url_of(self.listener, secure=secure)
        return self.listener

    def stop(self) -> None:
        """Make `run` end; from any thread or signal handler."""
        self._stop.set()

    def run(
        self,
        parts: Sequence[Part],
        *,
        on_change: Callable[[State], None] | None = None,
        on_ready: Callable[[State], None] | None = None,
    ) -> None:
        """Run the parts until SIGTERM, SIGINT or `stop`. Call it from the main thread, or one that stays.

        `on_change` sees every change of a state, `on_ready` the first moment at which all are up. Raises Unavailable,
        after stopping everything, when an essential part does not come up.
        """
        self._children = [_Child(part, self.home / "log" / f"{part.name}.log") for part in parts]
        announce = on_ready
        with self._signals():
            try:
                while not self._stop.is_set():
                    for child in self._children:
                        self._step(child, time.monotonic())
                    state = self._tell(on_change)
                    if state.ready and announce is not None:
                        announce(state)
                        announce = None
                    self._stop.wait(_TICK_SECONDS)
            finally:
                self._stop_all(on_change)

    def _step(self, child: _Child, now: float) -> None:
        """Move one part on: the whole life of a part is these five lines."""
        if child.state == "waiting" and all(other.settled for other in self._before(child)):
            self._start(child, now)
        elif child.state in ("starting", "ready"):
            self._look_at(child, now)
        elif child.state == "backoff" and now >= child.retry_at:
            child.restarts += 1
            self._start(child, now)

    def _before(self, child: _Child) -> list[_Child]:
        return self._children[: self._children.index(child)]

    def _start(self, child: _Child, now: float) -> None:
        part, env, descriptors = child.part, dict(child.part.env), []
        if part.ready_file is not None:
            part.ready_file.unlink(missing_ok=True)
        if part.listens and self.listener is not None:
            env[LISTEN_FD] = str(self.listener.fileno())
            descriptors = [self.listener.fileno()]
        process.rotate(child.log, _LOG_BYTES)
        child.state, child.since = "starting", now
        try:
            child.process = process.spawn(part.argv, env=env, log=child.log, nice=part.nice, pass_fds=descriptors)
        except OSError as error:
            self._fell(child, str(error), now)

    def _look_at(self, child: _Child, now: float) -> None:
        assert child.process is not None
        status = child.process.poll()
        if status == 0 and child.part.once:
            child.state, child.came_up = "done", True
        elif status is not None:
            self._fell(child, process.explain(status), now)
        elif child.state == "starting" and _is_ready(child.part, now - child.since):
            child.state, child.since, child.came_up = "ready", now, True
        elif child.state == "starting" and now > child.since + child.part.ready_seconds:
            process.signal_group(child.process, signal.SIGKILL)
            child.process.wait()
            self._fell(child, f"not ready in {child.part.ready_seconds:.0f} s", now)
        elif child.state == "ready":
            process.rotate(child.log, _LOG_BYTES)

    def _fell(self, child: _Child, how: str, now: float) -> None:
        healthy = child.state == "ready" and now - child.since >= _HEALTHY_SECONDS
        child.failures = 1 if healthy else child.failures + 1
        child.last_exit = how
        if child.part.essential and not child.came_up and (child.part.once or child.failures >= _TRIES_AT_START):
            raise Unavailable(
                f"The part {child.part.name} did not start ({how}). Its last words:\n{process.tail(child.log)}\n",
                remedy=f"See {child.log}.",
            )
        wait = self._backoff.draw(child.failures)
        child.state, child.since, child.retry_at = "backoff", now, now + wait
        log.warning("part.died", part=child.part.name, how=how, failures=child.failures, next_try_in=round(wait, 2))

    def _stop_all(self, on_change: Callable[[State], None] | None) -> None:
        """The last part first, so that each can still use those beneath it while it finishes."""
        self._stop.set()
        self._close_listener()
        for child in reversed(self._children):
            if child.process is not None:
                child.state = "stopping"
                self._tell(on_change)
                process.terminate(child.process, child.part.grace)
            child.state = "stopped"
            self._tell(on_change)

    def _tell(self, on_change: Callable[[State], None] | None) -> State:
        ready = not self._stop.is_set() and all(child.settled for child in self._children)
        parts = tuple(child.told() for child in self._children)
        state = State(os.getpid(), ready, self._started_at, self._url, parts)
        if state != self._told:
            self._told = state
            write_state(self.home, state)
            if on_change is not None:
                on_change(state)
        return state

    def _close_listener(self) -> None:
        if self.listener is not None:
            self.listener.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop; a second one does not wait for grace. Elsewhere than in the main thread: `stop`."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            for child in self._children:
                if child.process is not None:
                    process.signal_group(child.process, signal.SIGKILL)
        self._stop.set()


def _is_ready(part: Part, age: float) -> bool:
    if part.once:
        return False
    if part.ready is None and part.ready_file is None:
        return age >= _LIVES_SECONDS
    return (part.ready_file is None or part.ready_file.exists()) and (part.ready is None or part.ready())
