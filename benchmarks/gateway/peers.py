"""Other gateways, where they are installed: they get the same upstream, the same core and the same load in the same run.

LiteLLM's proxy with a master key and nothing logged, Portkey's gateway without a key check (it has none): less than what is on
here. Nothing is installed by this; see docs/benchmarks.md.
"""

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from benchmarks.gateway import parts
from benchmarks.gateway.load import Target
from benchmarks.gateway.upstream import MODEL

LITELLM, PORTKEY = "BENCH_LITELLM", "BENCH_PORTKEY"
KEY = "sk-bench"
_PORTKEY = Path("node_modules/@portkey-ai/gateway/build/start-server.js")
_MODELS = """
model_list:
  - model_name: bench
    litellm_params: {{model: openai/{model}, api_base: "http://127.0.0.1:{port}/v1", api_key: none}}
litellm_settings: {{telemetry: false}}
"""


class Peer(NamedTuple):
    """One that was found: its name, and how it is started before the upstream at a port."""

    name: str
    start: Callable[[int, frozenset[int], Path], AbstractContextManager[Target]]


def found(litellm: str | None, portkey: str | None) -> tuple[list[Peer], list[str]]:
    """The peers that are there, and what is said of those that are not. Arguments: folders, or None to look around."""
    peers, absent = [], []
    program = _program(litellm or os.environ.get(LITELLM))
    if program is not None:
        peers.append(Peer("litellm", lambda port, cores, scratch: _litellm(program, port, cores, scratch)))
    else:
        absent.append(f"LiteLLM was not found: name its virtual environment by --litellm or {LITELLM}.")
    script = Path(portkey or os.environ.get(PORTKEY) or ".") / _PORTKEY
    node = shutil.which("node")
    if node is not None and script.exists():
        peers.append(Peer("portkey", lambda port, cores, scratch: _portkey([node, str(script)], port, cores, scratch)))
    else:
        absent.append(f"Portkey was not found: name the folder of its node_modules by --portkey or {PORTKEY}.")
    return peers, absent


def _program(folder: str | None) -> str | None:
    if folder is None:
        return shutil.which("litellm")
    program = Path(folder) / "bin" / "litellm"
    return str(program) if program.exists() else None


@contextlib.contextmanager
def _litellm(program: str, upstream_port: int, cores: frozenset[int], scratch: Path) -> Iterator[Target]:
    config = scratch / "litellm.yaml"
    config.write_text(_MODELS.format(model=MODEL, port=upstream_port))
    port = _free_port()
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    told = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
    target = Target(port, "bench", {"authorization": f"Bearer {KEY}"})
    with _started("LiteLLM", command, told, cores, scratch, target):
        yield target


@contextlib.contextmanager
def _portkey(command: Sequence[str], upstream_port: int, cores: frozenset[int], scratch: Path) -> Iterator[Target]:
    port = _free_port()
    headers = {
        "authorization": f"Bearer {KEY}",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream_port}/v1",
    }
    told = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    target = Target(port, MODEL, headers)
    with _started("Portkey", [*command, f"--port={port}", "--headless"], told, cores, scratch, target):
        yield target


@contextlib.contextmanager
def _started(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    cores: frozenset[int],
    scratch: Path,
    target: Target,
) -> Iterator[None]:
    log = scratch / f"{name}.log"
    with parts.process(command, cores, log=log, environment=environment) as child:
        parts.wait_until(lambda: _answers(target), name, log, child)
        yield


def _answers(target: Target) -> bool:
    """Whether one request is answered with 200."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", target.port), timeout=5) as connection:
        connection.sendall(target.request())
        return connection.recv(64).startswith(b"HTTP/1.1 200")
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
