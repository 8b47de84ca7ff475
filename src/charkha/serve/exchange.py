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
from charkha.serve.attempt import Attempt, relay_of
from charkha.serve.bounds import used
from charkha.serve.caches.process import Caches
from charkha.serve.caches.visit import Found, Telling, Visit
from charkha.serve.recording import Bill, Outcome, Recorder
from charkha.serve.routing.router import Router
from charkha.serve.routing.ways import Choice, Journey, Way
from charkha.serve.upstream import EngineFailed, Upstream

CLIENT_CLOSED_STATUS = 499  # nginx's number for a client that closed the connection
_ENGINE, _DEGRADED = b"x-charkha-engine", b"x-charkha-degraded"
log = structlog.get_logger()


class Exchange:
    """One request on its way."""

    __slots__ = (
        "_choice",
        "_closed",
        "_hold",
        "_journey",
        "_lifetime",
        "_order",
        "_outcome",
        "_recorder",
        "_reply",
        "_request",
        "_router",
        "_upstream",
        "_visit",
        "_way",
    )

    def __init__(
        self,
        order: Order,
        choice: Choice,
        reply: Reply,
        hold: Hold,
        *,
        upstream: Upstream,
        router: Router,
        recorder: Recorder,
        caches: Caches,
    ) -> None:
        """`hold` is what the request's limits have reserved for the dearest of the ways that may answer."""
        self._order, self._request, self._reply, self._choice = order, order.request, reply, choice
        self._upstream, self._router, self._recorder, self._hold = upstream, router, recorder, hold
        self._journey: Journey[Attempt] = Journey(choice, self._begin, discard=Attempt.give_up, departed=self._departed)
        self._way, self._outcome, self._closed = choice.preferred, Outcome(), False
        policy = order.request.target.cache
        self._visit = Visit(caches, policy, order) if policy is not None else None

    async def run(self, receive: Receive, seconds: float) -> None:
        """Answer the request. Raises what is to be told of it before or, as the last event, after it has begun."""
        kept = msgspec.json.encode(self._order.body) if self._request.target.keeps_content else None
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
            self._journey.end()

    async def _within(self, receive: Receive, seconds: float) -> None:
        self._lifetime = lifetime = Lifetime(receive, seconds)
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
                f"The engine '{self._way.target.engine}' broke off its answer.",
                code="engine_lost",
                remedy="Try again.",
            ) from error

    async def _visited(self, visit: Visit, seconds: float) -> None:
        """Give an answer again, or one that is on its way to somebody else, or the engine's, which may be kept."""
        with visit:
            found = await visit.find(seconds / 2)  # whoever waits in vain has as long for the engine
            self._reply.headers += visit.headers(found)
            await (self._answer() if found is None else self._again(found))

    async def _again(self, found: Found) -> None:
        relay, stream = relay_of(self._order, self._outcome), self._request.stream
        body = b"".join(map(relay.chunk, found.chunks())) if stream else relay.whole(found.body)
        self._outcome.spare()
        self._close()
        if stream:
            await self._reply.events(body + relay.ending(), more=False)
        else:
            await self._reply.whole(200, body)

    async def _answer(self) -> None:
        attempt = await self._router.answer(self._journey)
        self._take(attempt)
        if not self._request.stream:
            self._close()
            await self._reply.whole(200, attempt.out)
            return
        try:
            await self._stream(attempt)
        except (EngineFailed, aiohttp.ClientError):
            self._journey.broke()
            raise
        finally:
            attempt.give_up()  # no effect on one that was read to its end

    async def _begin(self, way: Way) -> Attempt:
        attempt = Attempt(way, self._order, self._tape if way.target is self._request.target else None)
        try:
            await attempt.begin(self._upstream, self._request)
        except BaseException:
            if attempt.outcome.answered:  # an engine that began is paid, unless another answers
                self._way, self._outcome = way, attempt.outcome
            raise
        return attempt

    def _tape(self, telling: Telling) -> Telling:
        return telling if self._visit is None else self._visit.tape(telling)

    def _take(self, attempt: Attempt) -> None:
        """This is the answer: what is told and written down from now on is of it."""
        self._way, self._outcome = attempt.way, attempt.outcome
        if self._choice.several:
            self._reply.headers.append((_ENGINE, attempt.way.target.engine.encode()))
        if self._visit is not None and attempt.way.target is not self._request.target:
            self._visit.part()  # another way's answer is not one for others
        if (reason := self._journey.degraded(attempt.way)) is not None:
            self._reply.headers.append((_DEGRADED, reason.encode()))

    async def _stream(self, attempt: Attempt) -> None:
        out = attempt.out
        while True:
            if out:
                await self._reply.events(out)
            if attempt.done:
                break
            out = await attempt.more()
        await attempt.close()
        self._close()
        await self._reply.events(attempt.ending(), more=False)

    def _departed(self) -> bool:
        return self._lifetime.departed

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
            self._note()
            self._recorder.close(self._request, self._outcome, self._settle())
            metrics.ended(self._request, self._outcome, time.perf_counter() - self._request.began)

    def _note(self) -> None:
        """Add what the log is told of the way that it took."""
        outcome, target = self._outcome, self._way.target
        outcome.cache = self._visit.recorded if self._visit is not None else None
        outcome.tries = self._journey.tries
        outcome.degraded = self._journey.degraded(self._way) if outcome.answered else None
        if target is not self._request.target:
            outcome.engine, outcome.model = target.engine, target.model

    def _settle(self) -> Bill:
        """Spend what was used of the limits. A stream that was cut has no count but what came through of it."""
        outcome, price = self._outcome, self._way.price
        spent = used(outcome, self._way.bound)
        if outcome.completion_tokens is None and outcome.streamed:
            outcome.completion_tokens = spent.completion
        cost = price.of(spent.prompt, spent.completion) if price is not None else None
        charges = self._hold.settle(spent.prompt + spent.completion, cost or 0)
        saved = price.of(*outcome.spared) if price is not None and outcome.spared is not None else None
        return Bill(cost, price.currency if price is not None else None, charges, saved)
