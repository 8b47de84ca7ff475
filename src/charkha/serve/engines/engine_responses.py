"""How an engine process answers on ASGI: whole, as a stream of events, or with an error in OpenAI's shape."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import structlog

from charkha.core.errors import CharkhaError
from charkha.serve.engines.engine_choices import sse

log = structlog.get_logger()

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def respond(send: Send, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    """Send a whole JSON response."""
    named = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def stream(chunks: AsyncIterator[bytes], send: Send) -> None:
    """Send events as they come. An error before the first is raised, a later one becomes the stream's last event."""
    started = False
    try:
        async for chunk in chunks:
            if not started:
                await _start_stream(send)
                started = True
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except CharkhaError as error:
        if not started:
            raise
        log.warning("stream_broken", reason=str(error))
        await send({"type": "http.response.body", "body": sse(error_object(error)), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def error_object(error: CharkhaError) -> dict[str, Any]:
    """The error as the OpenAI API writes it."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}


async def _start_stream(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
