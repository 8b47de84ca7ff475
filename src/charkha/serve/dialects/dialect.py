"""What a dialect is: pure functions between what its clients write and read, and the internal form (`chat`).

A client's request becomes a chat request; the engine's answer, whole or in chunks, is told back in the dialect's own
words. OpenAI's chat completions are the internal form itself: nothing is told anew there, bytes pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from charkha.core.errors import CharkhaError
from charkha.core.records import Operation
from charkha.serve.dialects.chat import Answer


class Telling(Protocol):
    """One answer, as it is told in a dialect's words. Raises ValueError for what cannot be said in them."""

    def whole(self, answer: Answer) -> bytes:
        """A whole answer."""
        ...

    def chunk(self, chunk: Answer) -> bytes:
        """The events that a chunk of a streamed answer becomes; empty where it tells a client nothing new."""
        ...

    def ending(self) -> bytes:
        """The events that end a streamed answer."""
        ...


class Understood(NamedTuple):
    """A request in the internal form. `telling` makes the teller of its answer of (inference id, model's name); None
    where the answer passes as it is."""

    request: dict[str, Any]
    telling: Callable[[str, str], Telling] | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """The functions of a dialect.

    `understand` reads a body and raises Invalid that names the field; `error` is an error's body, `error_event` the
    event that ends a broken stream; `id_header` is a second name for `x-request-id`, where its clients look for one.
    """

    understand: Callable[[bytes, Operation], Understood]
    error: Callable[[CharkhaError], bytes]
    error_event: Callable[[CharkhaError], bytes]
    id_header: bytes | None = None


def event(kind: str, body: bytes) -> bytes:
    """A server-sent event with a name."""
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"
