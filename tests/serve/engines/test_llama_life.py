"""How the embedded engine's process begins and ends: it converts its model once, finishes its work, follows its parent."""

import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from charkha.serve.engines import llama_cpp
from charkha.serve.engines.models import find_model
from charkha.serve.ports import EngineDeps
from charkha.testing.engine_process import TOKEN, no_session, running_engine
from charkha.testing.tiny import make_tiny_adapter, make_tiny_gguf

BODY = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    return make_tiny_gguf(directory / "tiny.gguf", find_model(None, directory).path)


def test_the_fastest_form_is_made_at_the_first_start(tmp_path: Path, tiny: Path) -> None:
    with running_engine(tmp_path, tiny, convert=True) as engine:
        assert httpx.get(f"{engine.url}/health").json()["base_hash"] == find_model(tiny, tmp_path / "models").sha256
    assert [file.name for file in (tmp_path / "models").glob("*.gguf")] == [
        f"{find_model(tiny, tmp_path / 'models').sha256}.q8_0.gguf"
    ]


def test_a_stream_that_runs_is_finished_before_the_end(tmp_path: Path, tiny: Path) -> None:
    with running_engine(tmp_path, tiny) as engine, engine.client() as client:
        body = {**BODY, "max_tokens": 300, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            engine.process.send_signal(signal.SIGTERM)
            assert "data: [DONE]" in list(lines)
        assert engine.process.wait(15) == 0


def test_a_rare_adapter_is_answered_amid_steady_traffic_on_the_base(tmp_path: Path, tiny: Path) -> None:
    adapter = make_tiny_adapter(tmp_path / "rare.gguf", tiny)
    content = adapter.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    over = threading.Event()
    with running_engine(tmp_path, tiny) as engine, engine.client() as client, ThreadPoolExecutor(12) as pool:
        assert client.put(f"/adapters/{digest}", content=content).status_code == 200

        def user() -> int:
            answered = 0
            while not over.is_set():
                assert client.post("/v1/chat/completions", json={**BODY, "max_tokens": 120}).status_code == 200
                answered += 1
            return answered

        users = [pool.submit(user) for _ in range(12)]
        try:
            body = {**BODY, "max_tokens": 2, "adapters": [{"id": digest, "weight": 1.0}]}
            for _ in range(3):
                assert client.post("/v1/chat/completions", json=body, timeout=15).status_code == 200
        finally:
            over.set()
        assert all(each.result() for each in users)


def test_an_engine_ends_with_its_parent(tmp_path: Path, tiny: Path) -> None:
    config = llama_cpp.Config(model_path=tiny, convert=False, parallel=1, context=128)
    engine = llama_cpp.build(config, EngineDeps(no_session, tmp_path, TOKEN))
    engine.prepare(tmp_path, TOKEN)
    with child_of_a_child(engine.command()) as (parent, pid):
        assert within(60, (tmp_path / "engine" / "local" / "ready.json").exists)
        parent.kill()
        parent.wait()
        assert within(20, lambda: not runs(pid))


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(RuntimeError, match="model_refused"), running_engine(tmp_path, tmp_path / "model.gguf"):
        pass


@contextmanager
def child_of_a_child(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start `command` through a process in between; yields that process and the command's pid."""
    program = (
        "import subprocess, sys, time; print(subprocess.Popen(sys.argv[1:], stdout=2).pid, flush=True); time.sleep(60)"
    )
    between = [sys.executable, "-c", program, *command]
    with subprocess.Popen(between, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout
        yield parent, int(parent.stdout.readline())
        parent.kill()


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
