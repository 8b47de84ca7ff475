"""What the gateway writes to its spool about one request: an *open* record before the first byte, a *close* at the end.

Serving writes them, observing reads them; neither knows the other. Times are milliseconds since the epoch.
"""

from typing import Literal
from uuid import UUID

import msgspec

Operation = Literal["chat", "completion", "embedding"]
Charge = tuple[UUID, int, int]
"""Units that a request takes of a limit: the limit's id, the start of its window (seconds since the epoch), units."""
BODY_VERSION = 1  # bodies are plain JSON; a later version names how they are encrypted


class Opened(msgspec.Struct, tag="open", array_like=True, frozen=True):
    """A request was admitted and sent to an engine. `request` is its JSON body, None where content is not kept.

    `reserved` is the most that it may take of the limits on it, out of the leases of the gateway `holder`.
    """

    id: UUID
    workspace_id: UUID
    at_ms: int
    operation: Operation
    model: str
    purpose: str
    actor: str
    endpoint_id: UUID | None
    plan_id: UUID | None
    variant_id: UUID | None
    version_id: UUID | None
    engine: str
    adapters: list[tuple[str, float]]
    stream: bool
    episode_id: str | None
    subject_id: str | None
    trace_id: str | None
    request: bytes | None
    holder: str = ""
    reserved: list[Charge] = []
    prompt_version_id: UUID | None = None


class Closed(msgspec.Struct, tag="close", array_like=True, frozen=True):
    """The same request ended. `status` is the HTTP status; `answer` is the text that was answered, None if not kept.

    `cost` is in micro-units of `currency`, both None without a price; `charges` is what it took of the limits on it.
    `engine` and `engine_model` answered where it was another way of the variant than its own, whose version and adapters
    had no part in it then; `degraded` says why. `tries`: how often engines were asked.
    `cache` is what its endpoint's cache had: `hit`, `semantic` or `miss`; `saved` is the cost that a hit did not have.
    """

    id: UUID
    workspace_id: UUID
    at_ms: int
    status: int
    error_code: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    first_token_ms: float | None
    duration_ms: float
    answer: str | None
    degraded: str | None = None
    cost: int | None = None
    currency: str | None = None
    charges: list[Charge] = []
    engine: str = ""
    engine_model: str = ""
    tries: int = 1
    cache: str | None = None
    saved: int | None = None


Record = Opened | Closed
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """A record as the spool keeps it (MessagePack)."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """The record that `encode` made. Raises msgspec.DecodeError."""
    return _decoder.decode(data)
