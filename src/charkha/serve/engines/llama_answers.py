"""Asking llama.cpp for what a checked request wants, and sending its answer on: bytes as they come where nothing changes.

Owns the way from a worker's response to the client's: statuses, errors in OpenAI's shape, several calls made into one
answer. The caller holds the lease on the generation and cancels when the client leaves.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from charkha.core.errors import CharkhaError, Invalid, Timeout, Unavailable
from charkha.serve.engines.engine_choices import (
    DONE,
    EventSplitter,
    StreamMerger,
    merged,
    with_legacy_logprobs,
)
from charkha.serve.engines.engine_requests import COUNT, EMBEDDINGS, Asked
from charkha.serve.engines.engine_responses import Send, respond, stream
from charkha.serve.engines.llama_generations import Generation

log = structlog.get_logger()

_TOO_LONG: Final = ("exceeds the available context size", "is too large to process")


async def answer(generation: Generation, asked: Asked, send: Send) -> None:
    """Answer `asked` on `send` (ASGI). Raises CharkhaError only as long as nothing has been sent."""
    calls = [_with_adapters(generation, asked, call) for call in asked.calls]
    if not asked.stream:
        await respond(send, 200, await _whole(generation, asked, calls))
        return
    chunks = _passed(generation, asked, calls[0]) if asked.passes_through else _mixed(generation, asked, calls)
    await stream(chunks, send)


def _with_adapters(generation: Generation, asked: Asked, call: dict[str, Any]) -> dict[str, Any]:
    if asked.path in (COUNT, EMBEDDINGS):
        return call
    return call | {"lora": generation.lora(asked.adapters)}


async def _whole(generation: Generation, asked: Asked, calls: list[dict[str, Any]]) -> bytes:
    if asked.passes_through:
        return await _body(generation, asked, calls[0])
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_body(generation, asked, call)) for call in calls]
    except* CharkhaError as errors:
        raise errors.exceptions[0] from None
    whole = merged([msgspec.json.decode(task.result()) for task in tasks], asked.per_prompt)
    return msgspec.json.encode(with_legacy_logprobs(whole) if asked.legacy_logprobs else whole)


@asynccontextmanager
async def _posted(generation: Generation, asked: Asked, call: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
    """The worker's response to a call, in a slot whose last prompt was of the same partition if it is read on from."""
    if asked.path in (COUNT, EMBEDDINGS):
        async with generation.worker.post(asked.path, call) as response:
            yield response
        return
    prompt = msgspec.json.encode(call.get("messages") or call.get("prompt")).decode()
    async with generation.slots.place(asked.partition, prompt) as place:
        placed = call | {"id_slot": place.number, "cache_prompt": place.reuse}
        async with generation.worker.post(asked.path, placed) as response:
            yield response


async def _body(generation: Generation, asked: Asked, call: dict[str, Any]) -> bytes:
    try:
        async with _posted(generation, asked, call) as response:
            content: bytes = await response.read()
            _raise_unless_ok(response.status, content)
            return content
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _lost(error) from error


async def _passed(generation: Generation, asked: Asked, call: dict[str, Any]) -> AsyncIterator[bytes]:
    """The worker's stream as it comes."""
    try:
        async with _posted(generation, asked, call) as response:
            if response.status != 200:
                _raise_unless_ok(response.status, await response.read())
            async for chunk in response.content.iter_any():
                yield chunk
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _lost(error) from error


async def _mixed(generation: Generation, asked: Asked, calls: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    """Several streams as one: events in the order in which they come, each under its choice's number."""
    merger = StreamMerger(len(calls), asked.per_prompt, asked.legacy_logprobs)
    events: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=64)

    async def pump(number: int, call: dict[str, Any]) -> None:
        splitter = EventSplitter()
        async for chunk in _passed(generation, asked, call):
            for data in splitter.feed(chunk):
                await events.put(merger.event(number, data))

    async def pump_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for number, call in enumerate(calls):
                    group.create_task(pump(number, call))
        except* CharkhaError as errors:
            raise errors.exceptions[0] from None
        finally:
            await events.put(None)

    pumping = asyncio.create_task(pump_all())
    try:
        while (event := await events.get()) is not None:
            if event:
                yield event
        await pumping
        yield merger.usage() + DONE
    finally:
        pumping.cancel()


def _raise_unless_ok(status: int, content: bytes) -> None:
    """llama.cpp's error as ours. What it does not call the client's fault is not: it is logged and told briefly."""
    if status == 200:
        return
    message = _message(content)
    if any(words in message for words in _TOO_LONG):
        remedy = "Shorten the prompt."
        raise Invalid(f"{message.capitalize()}.", remedy=remedy, param="messages", code="context_length_exceeded")
    if 400 <= status < 500:
        raise Invalid(f"{message}.", remedy="Correct the request.")
    log.error("llama_cpp_failed", status=status, message=message)
    raise CharkhaError("The engine failed on this request.", remedy="See the engine's log.", code="engine_failed")


def _message(content: bytes) -> str:
    try:
        return str(msgspec.json.decode(content)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return content[:200].decode(errors="replace")


def _lost(error: Exception) -> CharkhaError:
    if isinstance(error, TimeoutError):
        return Timeout("The engine did not finish in time.", remedy="Ask for fewer tokens.", code="engine_timeout")
    return Unavailable("The engine was lost while it answered.", remedy="Try again.", code="engine_lost")
