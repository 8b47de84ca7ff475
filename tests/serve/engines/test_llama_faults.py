"""The embedded engine under faults: killed in mid-stream, its worker killed, corrupt files on disk, hostile uploads."""

import hashlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from charkha.serve.engines.models import find_model
from charkha.testing.engine_process import RunningEngine, running_engine
from charkha.testing.tiny import make_tiny_adapter, make_tiny_gguf

BODY = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 6, "temperature": 0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    return make_tiny_gguf(directory / "tiny.gguf", find_model(None, directory).path)


@pytest.fixture(scope="module")
def adapter(tiny: Path) -> bytes:
    return make_tiny_adapter(tiny.with_name("adapter.gguf"), tiny, seed=1).read_bytes()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[RunningEngine]:
    with running_engine(tmp_path_factory.mktemp("home"), tiny) as engine:
        yield engine


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(client: httpx.Client, content: bytes) -> httpx.Response:
    return client.put(f"/adapters/{name_of(content)}", content=content)


def text(client: httpx.Client, *adapters: str) -> str:
    body = {**BODY, "adapters": [{"id": digest} for digest in adapters]}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.mark.chaos
def test_a_killed_engine_comes_back_with_its_adapters(tmp_path: Path, tiny: Path, adapter: bytes) -> None:
    with running_engine(tmp_path, tiny) as engine, engine.client() as client:
        assert put(client, adapter).status_code == 200
        expected = text(client, name_of(adapter))
        workers = children(engine)
        with client.stream("POST", "/v1/chat/completions", json={**BODY, "max_tokens": 400, "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            engine.process.kill()
            with pytest.raises(httpx.TransportError):
                list(lines)
    assert all(ended(worker) for worker in workers), "a worker outlived its engine"
    with running_engine(tmp_path, tiny) as engine, engine.client() as client:
        assert text(client, name_of(adapter)) == expected


@pytest.mark.chaos
def test_a_killed_worker_is_replaced(tmp_path: Path, tiny: Path, adapter: bytes) -> None:
    with running_engine(tmp_path, tiny) as engine, engine.client() as client:
        put(client, adapter)
        expected = text(client, name_of(adapter))
        (worker,) = children(engine)
        os.kill(worker, signal.SIGKILL)
        until_ready(client, engine, without=worker)
        assert text(client, name_of(adapter)) == expected


def children(engine: RunningEngine) -> list[int]:
    pid = engine.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ended(pid: int, seconds: float = 10) -> bool:
    """Whether the process is gone, or a zombie, within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def until_ready(client: httpx.Client, engine: RunningEngine, without: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if without not in children(engine) and client.get("/health").status_code == 200:
            return
        time.sleep(0.05)
    raise AssertionError("the engine is not ready")


def test_a_corrupt_file_is_set_aside_at_the_start(tmp_path: Path, tiny: Path, adapter: bytes) -> None:
    directory = tmp_path / "engine" / "local" / "adapters"
    directory.mkdir(parents=True)
    flipped = bytes([*adapter[:-1], adapter[-1] ^ 1])
    (directory / f"{name_of(adapter)}.gguf").write_bytes(flipped)
    unsound = b"GGUF" + bytes(100)
    (directory / f"{name_of(unsound)}.gguf").write_bytes(unsound)
    (directory / ".half.partial").write_bytes(b"x")
    with running_engine(tmp_path, tiny) as engine, engine.client() as client:
        assert client.get("/adapters").json()["adapters"] == []
        assert put(client, adapter).status_code == 200
    assert sorted(file.suffix for file in directory.iterdir()) == [".corrupt", ".corrupt", ".gguf"]


def test_an_adapter_of_another_base_is_a_conflict(running: RunningEngine, tiny: Path) -> None:
    other = make_tiny_gguf(tiny.with_name("other.gguf"), find_model(None, tiny.parent).path, layers=1, width=32)
    wrong = make_tiny_adapter(tiny.with_name("wrong.gguf"), other).read_bytes()
    claimed = make_tiny_adapter(tiny.with_name("claimed.gguf"), tiny, base_hash="0" * 64).read_bytes()
    with running.client() as client:
        for content in (wrong, claimed):
            answer = put(client, content)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "adapter_of_another_base")


def test_content_that_is_not_what_its_name_says_is_refused(running: RunningEngine, adapter: bytes) -> None:
    with running.client() as client:
        answer = client.put(f"/adapters/{'1' * 64}", content=adapter)
        assert answer.status_code == 422
        assert name_of(adapter) in answer.json()["error"]["message"]
        assert client.put("/adapters/..%2f..%2fx", content=b"x").status_code == 404


def test_hostile_uploads_never_take_the_engine_down(running: RunningEngine, adapter: bytes) -> None:
    draw = random.Random(7)
    with running.client() as client:
        expected = text(client)
        for _ in range(12):
            content = mutated(adapter, draw)
            assert put(client, content).status_code in (200, 409, 422)
            if content != adapter:
                client.delete(f"/adapters/{name_of(content)}")
        assert text(client) == expected
    assert running.process.poll() is None


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The file cut short, with bytes overwritten in its header, or with bits flipped anywhere."""
    kind = draw.randrange(3)
    if kind == 0:
        return content[: draw.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(draw.randrange(1, 5)):
        place = draw.randrange(2000 if kind == 1 else len(changed))
        changed[place] = 0xFF if kind == 1 else changed[place] ^ (1 << draw.randrange(8))
    return bytes(changed)


def test_two_engines_on_one_directory_do_not_fight(tmp_path: Path, tiny: Path) -> None:
    with running_engine(tmp_path, tiny) as first:
        with pytest.raises(RuntimeError, match="another_engine_runs"), running_engine(tmp_path, tiny):
            pass
        assert httpx.get(f"{first.url}/health").status_code == 200


def test_many_uploads_at_once_all_arrive(running: RunningEngine, tiny: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    contents = [make_tiny_adapter(tiny.with_name(f"{n}.gguf"), tiny, seed=n).read_bytes() for n in range(10, 16)]
    with running.client() as client, ThreadPoolExecutor(6) as pool:
        assert [answer.status_code for answer in pool.map(lambda each: put(client, each), contents)] == [200] * 6
        held = {adapter["id"] for adapter in client.get("/adapters").json()["adapters"]}
        assert held >= {name_of(content) for content in contents}
        assert len({text(client, name_of(content)) for content in contents}) == 6
