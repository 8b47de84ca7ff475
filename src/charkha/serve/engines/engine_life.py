"""The life of an engine process: it listens at once, tells where, and ends on SIGTERM, with its parent, or when it must."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import uvicorn

from charkha.kit.weights.files import write_bytes

log = structlog.get_logger()

_GRACE_SECONDS: Final = 10


def listen(host: str, port: int, ready_file: str) -> socket.socket:
    """Open the socket, and say where it is on standard output and in the ready file, if one is named."""
    listener = socket.create_server((host, port), backlog=1024)
    chosen = listener.getsockname()[1]
    sys.stdout.write(json.dumps({"event": "listening", "port": chosen}) + "\n")
    sys.stdout.flush()
    if ready_file:
        write_bytes(Path(ready_file), msgspec.json.encode({"port": chosen, "pid": os.getpid()}))
    return listener


class Life:
    """Serves an ASGI application until told to stop, until the process `parent` ends, or until `fail` is called."""

    def __init__(self, app: Any, parent: int) -> None:
        self._parent, self._failed = parent, False
        self._server = _Server(
            uvicorn.Config(
                app,
                http="httptools",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

    async def run(self, listener: socket.socket, load: Coroutine[Any, Any, None]) -> int:
        """Serve, with `load` beside it. The exit status: 1 after `fail`, else 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        beside = [asyncio.create_task(load), asyncio.create_task(self._watch_parent())]
        await self._server.serve(sockets=[listener])
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        return 1 if self._failed else 0

    def fail(self) -> None:
        """The engine cannot work: end with status 1."""
        self._failed = True
        self._stop()

    def _stop(self) -> None:
        self._server.should_exit = True

    async def _watch_parent(self) -> None:
        while os.getppid() == self._parent:  # noqa: ASYNC110  (nothing tells us of it but this)
            await asyncio.sleep(1)
        log.warning("parent_ended")
        self._stop()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before its workers are put away."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
