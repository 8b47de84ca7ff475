"""A console on a port of this machine, in a thread with an event loop of its own, and a workspace of hostile things.

A browser's tests are synchronous; what they want done inside, `House.do` does in that loop.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from charkha.app.installation import Installation
from charkha.testing.serving import serving
from tests.console.browser.hostile import furnish_hostile
from tests.console.furniture import Things
from tests.console.world import Echo, Seeded, World, running

T = TypeVar("T")


class House:
    """The running console: where it answers, who may look, and what there is, by workspace."""

    address: str
    world: World

    def __init__(self, installation: Installation, seeded: Seeded, echo: Echo) -> None:
        self._installation, self.seeded, self._echo = installation, seeded, echo
        self.things: dict[str, Things] = dict(seeded.things)
        self._loop = asyncio.new_event_loop()
        self._ready, self._leave = threading.Event(), asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def open(self) -> None:
        """Serve, and return once it answers."""
        self._thread.start()
        assert self._ready.wait(60), "the console did not start"
        if self._failure:
            raise self._failure

    def close(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(30)

    def do(self, work: Callable[[World], Awaitable[T]]) -> T:
        """Do something inside, and return what it returns."""

        async def doing() -> T:
            return await work(self.world)

        return asyncio.run_coroutine_threadsafe(doing(), self._loop).result(60)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            except BaseException as failure:  # noqa: BLE001  (told where it is waited for)
                self._failure = failure
                self._ready.set()

    async def _serve(self) -> None:
        at = self._installation
        async with running(at, self._echo.address) as (wiring, app, engine), serving(app) as address:
            self.world = World(wiring, app, engine, self._echo.model, self.seeded, at.home)
            self.things["hostile"] = await furnish_hostile(self.world)
            await call(self.world, "POST", "/workspaces", {"name": "empty"})
            self.address = address
            self._ready.set()
            await self._leave.wait()
            await self.world.close()


@contextmanager
def inhabited(installation: Installation, seeded: Seeded, echo: Echo) -> Iterator[House]:
    """The house, open for the time of the block."""
    house = House(installation, seeded, echo)
    house.open()
    try:
        yield house
    finally:
        house.close()


async def call(world: World, method: str, path: str, body: Any = None) -> Any:
    """One call of the REST API as the operator; it must succeed."""
    answer = await world.rest().request(method, path, json=body)
    assert answer.is_success, f"{method} {path}: {answer.text}"
    return answer.json()
