"""A gateway process's whole application as `charkha up` serves it, in a thread of its own, before an engine that echoes."""

import asyncio
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvicorn

from charkha.app import settings
from charkha.app.api import configured
from charkha.app.connections import Bounds
from charkha.app.installation import Installation
from charkha.app.listener import bind
from charkha.app.serving import served
from charkha.app.wiring import Wiring
from charkha.kit.postgres import launcher
from charkha.testing.fake_engine import FakeModel
from charkha.testing.serving import serving
from tests.conftest import TEMPLATE, Urls

ENGINE, MODEL = "local", "tiny"


class _Patient(FakeModel):
    """An engine that answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.held_back = asyncio.Event()
        self.held_back.set()

    async def _answer(self, path: str, request: dict[str, Any], send: Any, receive: Any) -> None:
        await self.held_back.wait()
        await super()._answer(path, request, send, receive)


class House:
    """The running application: where it is, its owner's key, its engine, and the loop that it runs in."""

    def __init__(self) -> None:
        self.model = _Patient()
        self.url = self.key = self.other_key = ""
        self.address = ("", 0)
        self.tasks = 0  # those of the application while nothing is asked of it
        self.wiring: Wiring
        self.server: uvicorn.Server
        self.loop: asyncio.AbstractEventLoop

    def hold(self) -> None:
        """Have the engine answer nothing until `release`."""
        self.model.held_back.clear()

    def release(self) -> None:
        """Let the engine answer."""
        self.loop.call_soon_threadsafe(self.model.held_back.set)

    def client(self, **headers: str) -> httpx.Client:
        """A client with the owner's key."""
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}", **headers}, timeout=30)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(self.address, timeout=30)


class _Server(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


@contextmanager
def fresh_database(running: launcher.Running) -> Iterator[Urls]:
    """A database like those of tests, for longer than one."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(running.urls.admin, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" OWNER charkha_owner')
    try:
        yield Urls(running, name)
    finally:
        with psycopg.connect(running.urls.admin, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def house(urls: Urls, home: Path, *, bounds: Bounds | None = None, **options: Any) -> Iterator[House]:
    """The application on a free port; `options` are settings."""
    made, ready, stopping = House(), threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(_serve(made, urls, home, bounds, options, ready, stopping))
        except BaseException as error:  # noqa: BLE001 - it is raised where the test is
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert ready.wait(60)
        if failures:
            raise failures[0]
        yield made
    finally:
        stopping.set()
        thread.join(60)
    if failures:
        raise failures[0]


async def _serve(
    made: House,
    urls: Urls,
    home: Path,
    bounds: Bounds | None,
    options: dict[str, Any],
    ready: threading.Event,
    stopping: threading.Event,
) -> None:
    made.loop = asyncio.get_running_loop()
    async with serving(made.model) as upstream:
        engine = {"plugin": "openai", "url": f"{upstream}/v1", "api_key_env": "", "models": {MODEL: MODEL}}
        chosen = {"engines": {ENGINE: engine}, **options}
        configuration = settings.load(home=home, database_url=urls.database, migration_url=urls.migration, **chosen)
        made.wiring = Wiring(Installation(configuration))
        await made.wiring.directory.prepare()
        first = await made.wiring.directory.first_run()
        assert first is not None
        made.key, made.other_key = first.operator.key, first.application.key
        server = made.server = _Server(configured(served(made.wiring), bounds=bounds))
        with bind("127.0.0.1", 0) as listener:
            made.address = listener.getsockname()[:2]
            made.url = f"http://127.0.0.1:{made.address[1]}"
            task = asyncio.create_task(server.serve([listener]))
            while not (server.started or task.done()):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            made.tasks = len(asyncio.all_tasks())
            ready.set()
            while not (stopping.is_set() or task.done()):
                await asyncio.sleep(0.05)
            server.should_exit = True
            await task
