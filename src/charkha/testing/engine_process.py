"""A real engine process for tests: an embedded plugin on a model of your choice, started and ended with a block."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from charkha.serve.engines import llama_cpp
from charkha.serve.ports import EngineDeps

TOKEN = "a-token-for-tests"  # noqa: S105  (it guards nothing but a test's own process)


@dataclass
class RunningEngine:
    """The process, and what a client needs to reach it."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def client(self) -> httpx.Client:
        """A client that shows the token. Close it."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)


def no_session() -> Any:
    """For an engine whose process alone is wanted."""
    raise AssertionError("this engine has no HTTP client")


@contextmanager
def running_engine(
    home: Path, model: Path, plugin: Any = llama_cpp, *, seconds: float = 90, **settings: Any
) -> Iterator[RunningEngine]:
    """The plugin's process under `home`, serving `model` as it is, ready within `seconds` when the block begins.

    `settings` are those of `plugin.Config`. What the process logs is in `<home>/engine.log`.
    """
    as_it_is = {"convert": False} if "convert" in plugin.Config.model_fields else {}
    values = {"model_path": model, **as_it_is, "parallel": 4, "context": 512, **settings}
    engine = plugin.build(plugin.Config(**values), EngineDeps(no_session, home, TOKEN))
    engine.prepare(home, TOKEN)
    log = home / "engine.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(engine.command(), stdout=subprocess.DEVNULL, stderr=stream)  # noqa: S603
    try:
        yield RunningEngine(
            process, _until_ready(process, home / "engine" / engine.name / "ready.json", log, seconds), log
        )
    finally:
        process.terminate()
        process.wait(20)


def _until_ready(process: subprocess.Popen[bytes], ready_file: Path, log: Path, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if ready_file.exists():
            url = f"http://127.0.0.1:{msgspec.json.decode(ready_file.read_bytes())['port']}"
            if _answers(url):
                return url
        time.sleep(0.02)
    raise RuntimeError(f"the engine did not start: {log.read_text()[-2000:]}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False
