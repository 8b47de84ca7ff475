"""A whole Charkha in miniature: an installation with the tiny model, run by `up` as a child on a free port.

Boundary: the only test code that starts, stops and kills a product as a whole. Tests speak to it as users do (HTTP, the
client, the command line); only the crash suite looks into its database, as its superuser.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from charkha.app.cli.connection import ADDRESS_FILE, KEY_FILE
from charkha.app.supervisor_state import PartState, State, read_state
from charkha.client import AsyncCharkha, Charkha
from charkha.kit import process
from charkha.kit.postgres import launcher
from charkha.testing.tiny_training import TinyTask
from tests.fixtures_postgres import short_directory

MODEL = "tiny"
START_SECONDS, STOP_SECONDS = 90.0, 60.0
_SETTINGS = """
port = 0
[engines.local]
plugin = "llama_cpp"
model_path = "{model}"
model_name = "{name}"
convert = false
threads = 1
context = 512
parallel = 4
[training]
threads = 1
nice = 5
[rollout]
steps = [10, 50, 100]
minimum = 3
"""


class Miniature:
    """One installation, and the `up` that runs it. `env` is laid over the environment of its processes."""

    def __init__(self, home: Path, task: TinyTask, env: Mapping[str, str] | None = None) -> None:
        self.home, self.task = home, task
        self.env = {"CHARKHA_HOME": str(home), **(env or {})}
        self.log = home.parent / "up.log"
        self._up: subprocess.Popen[bytes] | None = None

    def configure(self, more: str = "") -> None:
        """Write the settings; `more` is further TOML."""
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        text = _SETTINGS.format(model=self.task.model_gguf, name=MODEL)
        (self.home / "charkha.toml").write_text(text + more)

    def environment(self, **more: str) -> dict[str, str]:
        """Ours without CHARKHA_*, with the installation's own."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("CHARKHA_")}
        return {**inherited, **self.env, **more}

    def start(self, *, ready: bool = True) -> State | None:
        """Start `up`, and by default wait until every part is ready."""
        with self.log.open("ab") as log:
            self._up = process.spawn(
                [sys.executable, "-m", "charkha.app.up", "--port", "0"],
                env=self.environment(),
                inherit_env=False,
                log=log.fileno(),
                cwd=self.home.parent,
                death_signal=signal.SIGTERM,  # a test run that is killed leaves nothing behind
            )
        return self.wait_ready() if ready else None

    def wait_ready(self, seconds: float = START_SECONDS) -> State:
        """Wait until every part of the `up` that we started is ready, and return what it tells."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.state()
            if state is not None and state.ready and all(part.state in ("ready", "done") for part in state.parts):
                return state
            assert self._up is not None
            assert self._up.poll() is None, f"up ended ({self._up.returncode}): {self.log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"not ready in {seconds:.0f} s: {state}\n{self.words()}"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it politely."""
        if self._up is not None and self._up.poll() is None:
            self._up.terminate()
            self._up.wait(STOP_SECONDS)

    def kill(self) -> None:
        """`kill -9` the supervisor; its children die of it."""
        assert self._up is not None
        self._up.kill()
        self._up.wait()

    def state(self) -> State | None:
        """What the running supervisor tells of itself and its parts."""
        return read_state(self.home)

    def part(self, name: str) -> PartState:
        """One part. Raises StopIteration where there is none."""
        state = self.state()
        assert state is not None
        return next(part for part in state.parts if part.name == name)

    def wait_restarted(self, name: str, before: int | None) -> PartState:
        """Wait until a part is ready with another process than `before`."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            part = self.part(name)
            if part.state == "ready" and part.pid not in (None, before):
                return part
            assert time.monotonic() < deadline, f"{name} did not come back: {part}\n{self.words()}"
            time.sleep(0.05)

    @property
    def url(self) -> str:
        """Where the gateway listens now."""
        return (self.home / ADDRESS_FILE).read_text().strip()

    @property
    def key(self) -> str:
        """The operator's key."""
        return (self.home / KEY_FILE).read_text().strip()

    def client(self, key: str | None = None, **options: Any) -> Charkha:
        """A client, by default the operator's."""
        return Charkha(self.url, key or self.key, **options)

    def async_client(self, key: str | None = None, **options: Any) -> AsyncCharkha:
        """The same, asynchronous."""
        return AsyncCharkha(self.url, key or self.key, **options)

    def cli(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of `charkha` as its operator does."""
        argv = [sys.executable, "-m", "charkha.app.cli", *words]
        return subprocess.run(
            argv,
            env=self.environment(**(env or {})),
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def cli_json(self, *words: str) -> Any:
        """What a command prints with --json; it must succeed."""
        done = self.cli(*words, "--json")
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return json.loads(done.stdout)

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Rows of every workspace, read as the superuser."""
        address = launcher.urls(self.home).admin.replace("/postgres?", "/charkha?", 1)
        with psycopg.connect(address, row_factory=dict_row, connect_timeout=10) as connection:
            return connection.execute(query, values).fetchall()

    def words(self, lines: int = 12) -> str:
        """The last words of every part, for a failure's message."""
        logs = sorted((self.home / "log").glob("*.log"))
        return "\n".join(f"--- {log.name}\n" + "\n".join(_tail(log, lines)) for log in logs)


@contextmanager
def miniature(task: TinyTask, env: Mapping[str, str] | None = None, settings: str = "") -> Iterator[Miniature]:
    """An installation in a directory of its own that is not running yet; stopped and removed at the end."""
    with short_directory() as directory:
        made = Miniature(directory / "home", task, env)
        made.configure(settings)
        try:
            yield made
        except BaseException:
            print(made.words(30))  # pytest shows it with the failure
            raise
        finally:
            made.stop()


def _tail(log: Path, lines: int) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-lines:]
