"""A second engine beside the fake one, each of which fails in whatever way a test wants."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from charkha.serve.ports import Engine
from charkha.testing.fake_engine import Broken, FakeEngine, FakeModel
from charkha.testing.serving import serving


class Faulty(FakeModel):
    """A model with more ways to fail: `fault` is the name of one."""

    def __init__(self) -> None:
        super().__init__()
        self.fault = ""
        self.rest: bytes | None = None

    async def _answer(self, path: str, request: dict[str, Any], send: Any, receive: Any) -> None:
        match self.fault:
            case "nonsense":
                await self._say(send, 200, b'data: {"choices": 7}\n\n' if request.get("stream") else b"<html>")
            case "half":
                await self._say(send, 200, b'{"id": "a", "cho', more=True)
                raise Broken
            case "ends":
                await self._say(send, 200, b": nothing\n\n")
            case "error":
                body = b'{"error": {"message": "out of memory"}}'
                await self._say(send, 200, b"data: " + body + b"\n\n" if request.get("stream") else body)
            case "busy":
                await self._say(send, 429, b'{"error": {"message": "too many", "code": "slow_down"}}')
            case _:
                await super()._answer(path, request, send, receive)

    async def _say(self, send: Any, status: int, body: bytes, *, more: bool = False) -> None:
        headers = [(b"retry-after", self.rest)] if self.rest is not None else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": more})


@pytest.fixture
def second() -> Faulty:
    """The model of the second engine."""
    return Faulty()


@pytest.fixture
async def others(second: Faulty) -> AsyncIterator[dict[str, Engine]]:
    """The engine "spare" beside the engine "local"."""
    async with serving(second) as address:
        yield {"spare-model": FakeEngine(address, "spare")}
