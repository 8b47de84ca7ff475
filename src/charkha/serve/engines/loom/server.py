"""The engine's process: `python -m charkha.serve.engines.loom.server CONFIG.json`.

It listens at once and answers `/health` with 503 until the model is in memory and the adapters of `adapter_dir` are known.
The first start turns the GGUF into a Hugging Face directory, in a child that ends with its memory.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from charkha.core.errors import CharkhaError
from charkha.kit import telemetry
from charkha.kit.lockfile import LockFile
from charkha.kit.process import explain
from charkha.kit.weights.environment import ENVIRONMENT
from charkha.kit.weights.files import sha256_of
from charkha.kit.weights.gguf_check import check_model
from charkha.serve.engines.adapter_files import AdapterFiles
from charkha.serve.engines.engine_http import EngineApp, Served
from charkha.serve.engines.engine_life import Life, listen
from charkha.serve.engines.engine_requests import Limits
from charkha.serve.engines.loom.backend import LoomBackend

log = structlog.get_logger()


class EngineConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the process is started with; see `loom.Config`. `models_dir` is where the Hugging Face directory is kept."""

    model_path: str
    models_dir: str
    token: str
    adapter_dir: str
    run_dir: str
    base_hash: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    ready_file: str = ""
    parallel: int = 8
    context: int = 2048
    threads: int = 2
    model_name: str = "smollm2-135m-instruct"
    max_adapters: int = 1024
    max_requests: int = 256
    warm_ranks: int = 256
    cache_mb: int = 256
    precision: str = "bfloat16"


def main(arguments: list[str]) -> int:
    """Serve until told to stop. Exit status 0 after SIGTERM, 1 when the engine cannot work, 2 for a wrong start."""
    parent = os.getppid()  # now: it may end while we load
    if len(arguments) != 1:
        sys.stderr.write("usage: loom.server CONFIG.json\n")
        return 2
    telemetry.configure(json_lines=True, part="engine")
    config = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=EngineConfig)
    run_dir = Path(config.run_dir)
    for directory in (run_dir, Path(config.adapter_dir)):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = LockFile(run_dir / "lock")
    if not lock.acquire(wait=5):
        log.critical("another_engine_runs", pid=lock.owner(), run_dir=str(run_dir))
        return 1
    return asyncio.run(_serve(config, parent))


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
        self._config, self._model = config, Path(config.model_path)
        base_hash = config.base_hash or sha256_of(self._model)
        limits = Limits(config.context, check_model(self._model).vocabulary)
        self._files = AdapterFiles(Path(config.adapter_dir), self._model, base_hash)
        self._backend = LoomBackend()
        served = Served(config.model_name, base_hash, limits, config.max_adapters, config.max_requests)
        self._life = Life(EngineApp(served, config.token, self._backend, self._files), parent)

    async def run(self, listener: socket.socket) -> int:
        """Load, serve, and end when told to, when the parent ends, or when the model cannot be loaded. The exit status."""
        try:
            return await self._life.run(listener, self._load())
        finally:
            await asyncio.to_thread(self._backend.stop)

    async def _load(self) -> None:
        try:
            directory = await self._converted()
            adapters = await self._files.scan()
            loop = asyncio.get_running_loop()
            await asyncio.to_thread(
                self._start, directory, adapters, lambda: loop.call_soon_threadsafe(self._life.fail)
            )
        except (CharkhaError, OSError, ValueError, RuntimeError) as error:
            log.critical("engine_cannot_start", reason=str(error))
            self._life.fail()

    def _start(self, directory: Path, adapters: dict[str, Path], on_broken: Callable[[], object]) -> None:
        import torch

        from charkha.serve.engines.loom.adapters import RANKS
        from charkha.serve.engines.loom.answers import Answers
        from charkha.serve.engines.loom.engine import LoomEngine, Room
        from charkha.serve.engines.loom.grammar import Grammars
        from charkha.serve.engines.loom.text import Text

        config = self._config
        room = Room(
            slots=config.parallel,
            context=config.context,
            cache_bytes=config.cache_mb << 20,
            blocks=-(-config.warm_ranks // RANKS),
            threads=config.threads,
        )
        engine = LoomEngine(directory, getattr(torch, config.precision), room, on_broken)
        text = Text(directory)
        for digest, path in adapters.items():
            engine.add(digest, path)
        engine.start()
        grammars = Grammars(text.file.read_text(), engine.model.shape.vocabulary, min(text.ends))
        self._backend.serve(engine, Answers(engine, text, grammars, config.model_name))

    async def _converted(self) -> Path:
        """The Hugging Face directory of the model, made if need be. Raises RuntimeError with a child's last words."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "charkha.serve.engines.loom.conversion"),
            *(str(self._model), self._config.models_dir),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode != 0:
            last = errors.decode(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"the model could not be converted: {explain(process.returncode or 0)}: {last}")
        return Path(output.decode().strip().rpartition("\n")[2])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
