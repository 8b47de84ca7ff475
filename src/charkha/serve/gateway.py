"""The hot path: `/v1/*` as a raw ASGI application that reads no database and forwards bytes as they come.

Owns the way from an HTTP request to an exchange: who asks, whether there is room, and what becomes of errors.
"""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from charkha.core.errors import CharkhaError, NotFound, SlowBody
from charkha.core.ids import uuid7
from charkha.govern.access import WORKSPACE_HEADER
from charkha.govern.keyring import Authenticator, Principal
from charkha.govern.limits.meter import Meter
from charkha.kit.crypto import Secrets
from charkha.kit.snapshot import Snapshots
from charkha.kit.spool import SpoolWriter
from charkha.serve import catalogue, metrics
from charkha.serve.admission import Admission, Surface, check_content
from charkha.serve.asgi import REQUEST_ID, ClientGone, Deadline, Headers, Receive, Reply, Scope, Send, read_body
from charkha.serve.caches.process import CacheLimits, Caches
from charkha.serve.counting import TokenCounter
from charkha.serve.dialects import anthropic, openai, responses
from charkha.serve.exchange import CLIENT_CLOSED_STATUS, Exchange
from charkha.serve.ports import Client, Engine
from charkha.serve.recording import Recorder
from charkha.serve.room import Room
from charkha.serve.routes import Resolver, cache_epochs
from charkha.serve.routing.health import Engines
from charkha.serve.routing.planning import Planner, reserved
from charkha.serve.routing.router import Router
from charkha.serve.routing.warming import Warmer
from charkha.serve.upstream import EnsureAdapter, Upstream

PERMISSION = "inference.create"
MODELS = "/v1/models"
COUNT_TOKENS, _ANTHROPICS = "/v1/messages/count_tokens", "/v1/messages/"
SURFACES: Mapping[str, Surface] = {
    "/v1/chat/completions": Surface(openai.DIALECT, "chat"),
    "/v1/completions": Surface(openai.DIALECT, "completion"),
    "/v1/embeddings": Surface(openai.DIALECT, "embedding"),
    "/v1/messages": Surface(anthropic.DIALECT, "chat"),
    "/v1/responses": Surface(responses.DIALECT, "chat"),
}
_LAST_WORD_SECONDS = 5.0
_GARBAGE = (20_000, 20, 20)  # requests leave no cycles behind: objects are many for a moment, and then gone
_WORKSPACE = WORKSPACE_HEADER.encode()
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What one request may cost, how many there may be at once, and how long an engine may take to come back."""

    max_body_bytes: int = 8 * 2**20
    request_seconds: float = 120.0
    max_in_flight: int = 256
    engine_patience_seconds: float = 8.0
    drain_seconds: float = 10.0


class MethodNotAllowed(CharkhaError):
    """The path is there, but not for this method."""

    status, code = 405, "method_not_allowed"


class Gateway:
    """The application. `start` before the first request, `stop` after the last."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        snapshots: Snapshots,
        engines: Mapping[str, Engine],
        base_models: Mapping[str, tuple[str, str]],
        session_factory: Callable[[], Client],
        spool: SpoolWriter,
        secrets: Secrets,
        limits: GatewayLimits,
        ensure_adapter: EnsureAdapter,
        meter: Meter,
        drained: Callable[[], Collection[str]] = frozenset,
        caches: CacheLimits = CacheLimits(),
    ) -> None:
        """`snapshots` has the parts "keys", "routes" (`routes.load`) and "versions"; `base_models`: see Resolver.

        `drained` tells which engines get no new requests. The gateway closes the session that it makes, and the spool.
        """
        self._authenticator, self._limits, self._spool = authenticator, limits, spool
        self._resolver, self._recorder = Resolver(snapshots, base_models), Recorder(spool, secrets, meter.holder)
        self._meter = meter
        self._admission = Admission(self._resolver, self._recorder)
        self._engines, self._session_factory, self._ensure_adapter = engines, session_factory, ensure_adapter
        self.health = Engines()
        self._router = Router(self.health, patience=limits.engine_patience_seconds)
        self._planner = Planner(self.health, meter, drained, request_seconds=limits.request_seconds)
        self._room = Room(limits.max_in_flight)
        self._caches = Caches(caches, lambda: cache_epochs(snapshots))

    async def start(self) -> None:
        """Open the way to the engines and keep the spool synced; the last thing that a process does as it starts."""
        self._session = self._session_factory()
        self._upstream = Upstream(self._engines, self._session, self._ensure_adapter)
        self._counter = TokenCounter(
            self._resolver, self._engines, self._upstream, self._router, seconds=self._limits.request_seconds
        )
        await self._meter.start()
        self._caches.start(self._upstream)
        self._syncing = asyncio.create_task(self._spool.sync_forever())
        self._syncing.add_done_callback(_tell_of_failure)
        patience = self._limits.engine_patience_seconds
        self._warming = asyncio.create_task(Warmer(self._engines, self.health, self._upstream, patience=patience).run())
        self._warming.add_done_callback(_tell_of_failure)
        gc.collect()
        gc.freeze()  # what is here now stays: looking through it again and again costs a tenth of the throughput
        gc.set_threshold(*_GARBAGE)

    async def stop(self) -> None:
        """Refuse new requests, let the running ones end, then close the spool and the way to the engines."""
        await self._room.drain(self._limits.drain_seconds)
        await self._meter.stop()
        await self._caches.stop()
        for task in (self._syncing, self._warming):
            task.cancel()
        await asyncio.gather(self._syncing, self._warming, return_exceptions=True)
        await self._session.close()
        await asyncio.to_thread(self._spool.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request under /v1, whatever it is, in the form of the API that its path is of."""
        began = time.perf_counter()
        reply = Reply(send, began)
        try:
            await self._dispatch(scope, receive, reply, began)
        except CharkhaError as error:
            await _refuse(reply, error)
        except ClientGone:
            metrics.refused(CLIENT_CLOSED_STATUS)
        except Exception as error:  # told without its insides, logged with them
            log.exception("gateway.fault", path=scope["path"], exc_info=error)
            await _refuse(reply, CharkhaError("Something went wrong inside Charkha.", remedy="Its log says what."))

    async def _dispatch(self, scope: Scope, receive: Receive, reply: Reply, began: float) -> None:
        path, headers = scope["path"], Headers(scope)
        surface = SURFACES.get(path)
        if surface is not None:
            reply.dialect = surface.dialect
            _require("POST", scope)
            await self._serve(await self._known(headers, reply), surface, headers, receive, reply, began)
        elif path == COUNT_TOKENS:
            reply.dialect = anthropic.DIALECT
            _require("POST", scope)
            await self._count(await self._known(headers, reply), headers, receive, reply)
        elif path == MODELS or path.startswith(MODELS + "/"):
            _require("GET", scope)
            await self._models(headers, path.removeprefix(MODELS).removeprefix("/"), reply)
        else:
            if path.startswith(_ANTHROPICS):
                reply.dialect = anthropic.DIALECT
            raise NotFound(f"There is nothing at {path[:200]}.", remedy="See /docs.", code="unknown_url")

    def _caller(self, headers: Headers) -> Principal:
        principal = self._authenticator.authenticate(headers.get(b"authorization"), headers.get(b"x-api-key"))
        principal = self._authenticator.in_workspace(principal, headers.get(_WORKSPACE))
        principal.require(PERMISSION)
        return principal

    async def _known(self, headers: Headers, reply: Reply) -> Principal:
        """The caller; whatever it is answered tells of the limits on it."""
        caller = self._caller(headers)
        tally = self._meter.tally(caller)
        if tally.accounts:
            reply.tally = tally
            await self._meter.warm(tally)
        return caller

    async def _models(self, headers: Headers, wanted: str, reply: Reply) -> None:
        to_anthropic = headers.get(anthropic.VERSION_HEADER) is not None
        if to_anthropic:
            reply.dialect = anthropic.DIALECT
        caller = await self._known(headers, reply)
        body = catalogue.told(self._resolver.models(caller.workspace_id), wanted, to_anthropic=to_anthropic)
        _name(reply)
        await reply.whole(200, body)

    async def _serve(
        self, caller: Principal, surface: Surface, headers: Headers, receive: Receive, reply: Reply, began: float
    ) -> None:
        with self._room:
            content = await self._content(receive, headers)
            order = self._admission.admit(caller, surface, headers, content, began)
            choice = self._planner.choose(caller, order, len(content) + order.added, reply.tally)
            hold = await reserved(self._meter, choice, reply.tally)
            reply.headers = order.headers()
            try:
                exchange = Exchange(
                    order,
                    choice,
                    reply,
                    hold,
                    upstream=self._upstream,
                    router=self._router,
                    recorder=self._recorder,
                    caches=self._caches,
                )
                await exchange.run(receive, choice.routing.request_seconds or self._limits.request_seconds)
            finally:
                hold.release()

    async def _count(self, caller: Principal, headers: Headers, receive: Receive, reply: Reply) -> None:
        with self._room:
            content = await self._content(receive, headers)
            check_content(headers)
            count = await self._counter.count(caller, headers, anthropic.countable(content))
        _name(reply)
        estimated = [(b"x-charkha-estimated", b"true")] if count.estimated else []
        await reply.whole(200, msgspec.json.encode({"input_tokens": count.tokens}), *estimated)

    async def _content(self, receive: Receive, headers: Headers) -> bytes:
        try:
            with Deadline(self._limits.request_seconds):
                return await read_body(receive, headers, self._limits.max_body_bytes)
        except TimeoutError as error:
            raise SlowBody("The body did not arrive in time.", remedy="Send it faster, or less of it.") from error


async def _refuse(reply: Reply, error: CharkhaError) -> None:
    if not reply.headers:  # those of an exchange are counted where it ends
        _name(reply)
        metrics.refused(error.status)
    with contextlib.suppress(TimeoutError):  # a client that reads nothing is not waited for: its connection is closed
        async with asyncio.timeout(_LAST_WORD_SECONDS):
            await reply.error(error)


def _name(reply: Reply) -> None:
    """Give an answer that is no inference's an id to be asked about."""
    reply.headers = [(REQUEST_ID, str(uuid7()).encode())]


def _require(method: str, scope: Scope) -> None:
    if scope["method"] != method:
        raise MethodNotAllowed(f"{scope['path'][:200]} takes {method} alone.", remedy=f"Send it with {method}.")


def _tell_of_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("gateway.task_failed", reason=str(error))  # of the spool: appends are refused from now on
