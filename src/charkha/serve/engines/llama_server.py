"""The embedded engine's process: `python -m charkha.serve.engines.llama_server CONFIG.json`.

It listens at once and answers `/health` with 503 until llama.cpp has the model and every adapter of `adapter_dir`. It
ends when its parent does, and on SIGTERM after the requests that it is answering (at most 10 seconds). Its own code is
Python; llama.cpp runs in worker processes (`llama_worker`), so that nothing native can take it down.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

import msgspec
import structlog

from charkha.kit import telemetry
from charkha.kit.lockfile import LockFile
from charkha.kit.process import explain
from charkha.kit.weights.files import sha256_of
from charkha.kit.weights.gguf_check import check_model
from charkha.serve.engines.adapter_files import AdapterFiles
from charkha.serve.engines.engine_http import EngineApp, Served
from charkha.serve.engines.engine_life import Life, listen
from charkha.serve.engines.engine_requests import Limits
from charkha.serve.engines.llama_backend import LlamaBackend
from charkha.serve.engines.llama_generations import Generations
from charkha.serve.engines.llama_process import WorkerFailed
from charkha.serve.engines.llama_worker import Spec

log = structlog.get_logger()


class EngineConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the process is started with.

    `base_hash` is the hash that the model is known by (default: of `model_path`). `served_path`, if given, is where the
    model's fastest form is, or is made at the first start. `context` is the tokens of each of `parallel` requests.
    """

    model_path: str
    token: str
    adapter_dir: str
    run_dir: str
    base_hash: str = ""
    served_path: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    ready_file: str = ""
    parallel: int = 8
    context: int = 2048
    threads: int = 2
    model_name: str = "smollm2-135m-instruct"
    max_adapters: int = 256
    max_requests: int = 256
    request_seconds: float = 600.0


def main(arguments: list[str]) -> int:
    """Serve until told to stop. Exit status 0 after SIGTERM, 1 when the engine cannot work, 2 for a wrong start."""
    parent = os.getppid()  # now: it may end while we load
    if len(arguments) != 1:
        sys.stderr.write("usage: llama_server CONFIG.json\n")
        return 2
    telemetry.configure(json_lines=True, part="engine")
    config = _absolute(msgspec.json.decode(Path(arguments[0]).read_bytes(), type=EngineConfig))
    run_dir = Path(config.run_dir)
    for directory in (run_dir, Path(config.adapter_dir)):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(run_dir)  # the workers' sockets are named from here
    lock = LockFile(run_dir / "lock")
    if not lock.acquire(wait=5):
        log.critical("another_engine_runs", pid=lock.owner(), run_dir=str(run_dir))
        return 1
    for left in run_dir.glob("*.sock"):
        left.unlink()
    return asyncio.run(_serve(config, parent))


def _absolute(config: EngineConfig) -> EngineConfig:
    names = ("model_path", "served_path", "adapter_dir", "run_dir", "ready_file")
    paths = {name: str(Path(value).absolute()) for name in names if (value := getattr(config, name))}
    return msgspec.structs.replace(config, **paths)


async def _serve(config: EngineConfig, parent: int) -> int:
    listener = listen(config.host, config.port, config.ready_file)
    try:
        return await Engine(config, parent).run(listener)
    except ValueError as error:
        log.critical("model_refused", model=config.model_path, reason=str(error))
        return 1


class Engine:
    """The parts of the engine process, and its life from the first request to the last."""

    def __init__(self, config: EngineConfig, parent: int) -> None:
        """`parent` is the process with which this one ends. Raises ValueError if the model file is not sound."""
        self._config = config
        self._served_path = Path(config.served_path or config.model_path)
        model, base_hash = Path(config.model_path), config.base_hash or sha256_of(Path(config.model_path))
        limits = Limits(config.context, check_model(model).vocabulary)
        spec = Spec(
            model=str(self._served_path),
            alias=config.model_name,
            adapters=[],
            socket="",
            key="",
            parallel=config.parallel,
            context=config.context,
            threads=config.threads,
        )
        self._generations = Generations(spec, config.request_seconds, lambda: self._life.fail())
        self._files = AdapterFiles(Path(config.adapter_dir), model, base_hash)
        served = Served(config.model_name, base_hash, limits, config.max_adapters, config.max_requests)
        app = EngineApp(served, config.token, LlamaBackend(self._generations), self._files)
        self._life = Life(app, parent)

    async def run(self, listener: socket.socket) -> int:
        """Load, serve, and end when told to, when the parent ends, or when no worker can be started. The exit status."""
        try:
            return await self._life.run(listener, self._load())
        finally:
            await self._generations.close()

    async def _load(self) -> None:
        try:
            if not self._served_path.is_file():
                await self._make_served_form()
            adapters = await self._files.scan()
            await self._generations.start(adapters)
        except (WorkerFailed, OSError) as error:
            log.critical("engine_cannot_start", reason=str(error))
            self._life.fail()

    async def _make_served_form(self) -> None:
        log.info("model_conversion_started", target=self._served_path.name)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "charkha.serve.engines.models"),
            *(self._config.model_path, str(self._served_path)),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode != 0:
            last = errors.decode(errors="replace").strip().rpartition("\n")[2]
            raise WorkerFailed(f"the model could not be converted: {explain(process.returncode or 0)}: {last}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
