"""One admitted request, from its open record to its close: sent to the engine, its answer forwarded as it comes.

The order is the promise: *open* stands in the spool before the engine or the client get a byte, *close* before the
client gets the last one. Each request is closed exactly once, however it ends.
"""

import asyncio
import time

import aiohttp
import msgspec
import structlog

from charkha.core.errors import CharkhaError, Timeout
from charkha.govern.limits.meter import Hold
from charkha.serve import metrics
from charkha.serve.admission import Order
from charkha.serve.asgi import CLIENT_CLOSED, Lifetime, Receive, Reply
from charkha.serve.bounds import Bound, used
from charkha.serve.caches.process import Caches
from charkha.serve.caches.visit import Found, Telling, Visit
from charkha.serve.recording import Bill, Outcome, Recorder
from charkha.serve.streaming import Lines, Relay
from charkha.serve.translating import TranslatingRelay
from charkha.serve.upstream import EngineFailed, Upstream, read_whole

CLIENT_CLOSED_STATUS = 499  # nginx's number for a client that closed the connection
_PATHS = {"chat": "/v1/chat/completions", "completion": "/v1/completions", "embedding": "/v1/embeddings"}
_ID_PREFIX = {"chat": "chatcmpl-", "completion": "cmpl-", "embedding": ""}
log = structlog.get_logger()


class Exchange:
    """One request on its way."""

    __slots__ = (
        "_body",
        "_bound",
        "_closed",
        "_hold",
        "_outcome",
        "_recorder",
        "_relay",
        "_reply",
        "_request",
        "_upstream",
        "_visit",
    )

    def __init__(
        self,
        order: Order,
        reply: Reply,
        *,
        upstream: Upstream,
        recorder: Recorder,
        hold: Hold,
        bound: Bound,
        caches: Caches,
    ) -> None:
        """`hold` is what the request's limits have reserved for `bound` tokens."""
        self._request, self._body, self._reply = order.request, order.body, reply
        self._upstream, self._recorder = upstream, recorder
        self._hold, self._bound = hold, bound
        self._outcome, self._closed = Outcome(), False
        self._relay: Telling = _relay(order, self._outcome)
        policy = order.request.target.cache
        self._visit = Visit(caches, policy, order) if policy is not None else None

    async def run(self, receive: Receive, seconds: float) -> None:
        """Answer the request. Raises what is to be told of it before or, as the last event, after it has begun."""
        kept = msgspec.json.encode(self._body) if self._request.target.keeps_content else None
        self._recorder.open(self._request, kept, self._hold.reserved())
        try:
            await self._within(receive, seconds)
        except CharkhaError as error:
            self._fail(error.status, error.code)
            raise
        except asyncio.CancelledError:
            self._fail(503, "shutdown")
            raise
        finally:
            self._fail(500, "internal_error")  # no effect on a request that was closed

    async def _within(self, receive: Receive, seconds: float) -> None:
        lifetime = Lifetime(receive, seconds)
        try:
            async with lifetime:
                await (self._answer() if self._visit is None else self._visited(self._visit, seconds))
        except TimeoutError as error:
            if lifetime.departed:
                self._fail(CLIENT_CLOSED_STATUS, CLIENT_CLOSED)
                return
            raise Timeout(f"No answer within {seconds:g} seconds.", remedy="Ask for less, or try again.") from error
        except aiohttp.ClientError as error:
            raise EngineFailed(
                f"The engine '{self._request.target.engine}' broke off its answer.",
                code="engine_lost",
                remedy="Try again.",
            ) from error

    async def _visited(self, visit: Visit, seconds: float) -> None:
        """Give an answer again, or one that is on its way to somebody else, or the engine's, which may be kept."""
        with visit:
            found = await visit.find(seconds / 2)  # whoever waits in vain has as long for the engine
            self._reply.headers += visit.headers(found)
            self._outcome.cache = visit.recorded
            if found is not None:
                await self._again(found)
                return
            self._relay = visit.tape(self._relay)
            await self._answer()

    async def _again(self, found: Found) -> None:
        relay, stream = self._relay, self._request.stream
        body = b"".join(map(relay.chunk, found.chunks())) if stream else relay.whole(found.body)
        self._outcome.spare()
        self._close()
        if stream:
            await self._reply.events(body + relay.ending(), more=False)
        else:
            await self._reply.whole(200, body)

    async def _answer(self) -> None:
        request = self._request
        path = _PATHS[request.operation]
        async with await self._upstream.post(request.target, path, self._body, request.workspace_id) as response:
            self._outcome.answered = True
            if request.stream:
                await self._stream(response)
            else:
                await self._whole(response)

    async def _whole(self, response: aiohttp.ClientResponse) -> None:
        body = self._relay.whole(await read_whole(response))
        self._close()
        await self._reply.whole(200, body)

    async def _stream(self, response: aiohttp.ClientResponse) -> None:
        lines, relay = Lines(), self._relay
        async for data in response.content.iter_any():
            if out := b"".join([relay.chunk(payload) for payload in lines.feed(data) if not relay.done]):
                await self._reply.events(out)
            if relay.done:
                break
        if not relay.done:
            raise EngineFailed("The engine ended its answer too soon.", code="engine_lost", remedy="Try again.")
        self._close()
        await self._reply.events(self._relay.ending(), more=False)

    def _fail(self, status: int, code: str) -> None:
        """Close a request that did not end well. The client is told of that; that no close was written is logged."""
        if self._closed:
            return
        self._outcome.status, self._outcome.error_code = status, code
        try:
            self._close()
        except CharkhaError as error:
            log.error("gateway.close_not_recorded", inference=str(self._request.id), reason=str(error))

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._recorder.close(self._request, self._outcome, self._settle())
            metrics.ended(self._request, self._outcome, time.perf_counter() - self._request.began)

    def _settle(self) -> Bill:
        """Spend what was used of the limits. A stream that was cut has no count but what came through of it."""
        outcome, price = self._outcome, self._hold.price
        spent = used(outcome, self._bound)
        if outcome.completion_tokens is None and outcome.streamed:
            outcome.completion_tokens = spent.completion
        cost = price.of(spent.prompt, spent.completion) if price is not None else None
        charges = self._hold.settle(spent.prompt + spent.completion, cost or 0)
        saved = price.of(*outcome.spared) if price is not None and outcome.spared is not None else None
        return Bill(cost, price.currency if price is not None else None, charges, saved)


def _relay(order: Order, outcome: Outcome) -> Relay | TranslatingRelay:
    request, keeps = order.request, order.request.target.keeps_content
    if order.telling is not None:
        return TranslatingRelay(order.telling, outcome, keeps_content=keeps)
    answer_id = _ID_PREFIX[request.operation] + str(request.id)
    return Relay(answer_id, request.model, outcome, wants_usage=order.wants_usage, keeps_content=keeps)
