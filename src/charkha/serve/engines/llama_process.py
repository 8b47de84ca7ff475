"""A running llama.cpp worker as the engine process sees it: started, asked, watched, ended.

Owns the child process, its Unix socket and its log lines. Paths of sockets are relative to the working directory, since
the kernel allows them only 107 bytes: the engine process works in its run directory.
"""

import asyncio
import contextlib
import os
import sys
from collections import deque
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from charkha.kit.process import explain
from charkha.serve.engines.llama_worker import Spec

log = structlog.get_logger()

_START_SECONDS: Final = 120
# Threads that spin long at a barrier while another program holds a core wait for its whole time slice, several hundred
# times a token; threads that sleep at once wake late as often. A short spin is good for both: 80 requests of 95 tokens,
# eight at a time, on two cores: 7.1 a second, 4.1 with OMP_WAIT_POLICY=passive, 7.0 with active and nobody beside.
_ENVIRONMENT: Final = {"GOMP_SPINCOUNT": "2000"}


class WorkerFailed(RuntimeError):
    """llama.cpp did not start; the message carries its last words."""


class Worker:
    """One llama.cpp process that answers on a socket."""

    def __init__(self, process: asyncio.subprocess.Process, spec: Spec, request_seconds: float) -> None:
        self._process, self._spec = process, spec
        self._last_words: deque[str] = deque(maxlen=10)
        self._listener = asyncio.create_task(self._listen())
        self._session = aiohttp.ClientSession(
            "http://llama",
            # A connection per request: llama.cpp closes idle ones when it likes, which would fail the next request.
            connector=aiohttp.UnixConnector(spec.socket, limit=0, force_close=True),
            headers={"Authorization": f"Bearer {spec.key}", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=request_seconds),
        )

    @classmethod
    async def start(cls, spec: Spec, request_seconds: float) -> "Worker":
        """Start a worker and wait until it answers. Raises WorkerFailed with the reason."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "charkha.serve.engines.llama_worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**_ENVIRONMENT, **os.environ},
        )
        worker = cls(process, spec, request_seconds)
        try:
            await worker._until_ready()
        except BaseException:
            await worker.stop()
            raise
        return worker

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """An async context manager of the response (aiohttp's). Leaving it early makes llama.cpp stop that request."""
        return self._session.post(path, data=msgspec.json.encode(body))

    async def ended(self) -> str:
        """Wait until the process ends by itself; how it did, in words."""
        return explain(await self._process.wait())

    async def stop(self) -> None:
        """Kill it: it holds nothing that must be written."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._listener
        await self._session.close()
        _remove(self._spec.socket)

    async def _until_ready(self) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        try:
            stdin.write(msgspec.json.encode(self._spec) + b"\n")
            await stdin.drain()
            answer = await asyncio.wait_for(stdout.readline(), _START_SECONDS)
        except (TimeoutError, ConnectionError) as error:
            raise WorkerFailed(f"llama.cpp did not start: {type(error).__name__}. {self._words()}") from error
        if not answer:
            status = explain(await self._process.wait())
            await self._listener
            raise WorkerFailed(f"llama.cpp did not start: {status}. {self._words()}")

    async def _listen(self) -> None:
        stderr = self._process.stderr
        assert stderr
        while line := await stderr.readline():
            text = line.decode(errors="replace").rstrip()
            self._last_words.append(text)
            log.info("llama_cpp", line=text)

    def _words(self) -> str:
        return " ".join(self._last_words)


def _remove(socket: str) -> None:
    Path(socket).unlink(missing_ok=True)
