"""One try of one way: the engine asked, and its answer read as far as to the first bytes that the client may get.

Each try has an outcome and a relay of its own, so what one that failed has read leaves no trace in the next.
"""

from collections.abc import Callable

from charkha.serve.admission import Order
from charkha.serve.caches.visit import Telling
from charkha.serve.ports import Response
from charkha.serve.recording import Admitted, Outcome
from charkha.serve.routing.ways import Way
from charkha.serve.streaming import Lines, Relay
from charkha.serve.translating import TranslatingRelay
from charkha.serve.upstream import EngineFailed, Upstream, read_whole

_PATHS = {"chat": "/v1/chat/completions", "completion": "/v1/completions", "embedding": "/v1/embeddings"}
_ID_PREFIX = {"chat": "chatcmpl-", "completion": "cmpl-", "embedding": ""}


class Attempt:
    """An answer that has begun, or may. `out` is what the client gets first: of a whole answer all, of a stream a part."""

    __slots__ = ("_lines", "_pieces", "_relay", "_response", "out", "outcome", "way")

    def __init__(self, way: Way, order: Order, tape: Callable[[Telling], Telling] | None = None) -> None:
        """`tape` wraps what tells the answer, where it is to be kept."""
        self.way, self.outcome, self.out = way, Outcome(), b""
        relay: Telling = relay_of(order, self.outcome)
        self._relay, self._lines = relay if tape is None else tape(relay), Lines()
        self._response: Response | None = None

    @property
    def done(self) -> bool:
        """Whether a stream has been read to its end."""
        return self._relay.done

    async def begin(self, upstream: Upstream, request: Admitted) -> None:
        """Ask the engine and read the first bytes. Raises our errors and aiohttp's; the response is closed then."""
        path = _PATHS[request.operation]
        self._response = response = await upstream.post(self.way.target, path, self.way.body, request.workspace_id)
        self.outcome.answered = True
        try:
            if request.stream:
                self._pieces = response.content.iter_any()
                self.out = await self.more()
            else:
                self.out = self._relay.whole(await read_whole(response))
                await self.close()
        except BaseException:
            self.give_up()
            raise

    async def more(self) -> bytes:
        """The next bytes of a stream; empty where it is `done`. Raises EngineFailed for one that ends too soon."""
        relay = self._relay
        async for data in self._pieces:
            out = b"".join([relay.chunk(payload) for payload in self._lines.feed(data) if not relay.done])
            if out or relay.done:
                return out
        raise EngineFailed("The engine ended its answer too soon.", code="engine_lost", remedy="Try again.")

    def ending(self) -> bytes:
        """What ends a stream."""
        return self._relay.ending()

    async def close(self) -> None:
        """The answer is read: its connection may be used again."""
        if self._response is not None:
            await self._response.__aexit__(None, None, None)

    def give_up(self) -> None:
        """Nobody reads the rest: the engine sees its connection closed."""
        if self._response is not None:
            self._response.close()


def relay_of(order: Order, outcome: Outcome) -> Relay | TranslatingRelay:
    """What tells an answer to the client, and notes of it in `outcome`."""
    request, keeps = order.request, order.request.target.keeps_content
    if order.telling is not None:
        return TranslatingRelay(order.telling(str(request.id), request.model), outcome, keeps_content=keeps)
    answer_id = _ID_PREFIX[request.operation] + str(request.id)
    return Relay(answer_id, request.model, outcome, wants_usage=order.wants_usage, keeps_content=keeps)
