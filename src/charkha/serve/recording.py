"""What is written down of each request: *open* before anything is sent, *close* before the last byte.

Owns the ids of inferences and the gateway's end of the spool. A record whose call has returned outlives the process.
"""

import time
from typing import NamedTuple
from uuid import UUID

import msgspec

from charkha.core.ids import mint
from charkha.core.records import Charge, Closed, Opened, Operation, encode
from charkha.kit.crashpoints import crashpoint
from charkha.kit.crypto import Secrets
from charkha.kit.spool import SpoolWriter
from charkha.serve.targets import Target


class Admitted(msgspec.Struct, frozen=True):
    """One request that may be served: who asks, for what, and where it goes."""

    id: UUID
    workspace_id: UUID
    actor: str
    operation: Operation
    model: str
    target: Target
    stream: bool
    purpose: str
    episode_id: str | None
    subject_id: str | None
    trace_id: str | None
    began: float


class Outcome(msgspec.Struct):
    """What became of a request so far. `first_token` is an instant of `time.perf_counter`."""

    status: int = 200
    error_code: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token: float | None = None
    answer: str | None = None
    answered: bool = False  # the engine has begun to answer
    streamed: int = 0  # tokens that came through, counted as they came
    engine: str = ""  # that answered, with which of its models, where it was not the variant's own
    model: str = ""
    degraded: str | None = None  # why it was not the way that is asked first
    tries: int = 1
    cache: str | None = None  # what the endpoint's cache had: "hit", "semantic", "miss"; None where nobody looked
    spared: tuple[int, int] | None = None  # tokens, read and written, that an answer given again did not take

    def spare(self) -> None:
        """What was read of the answer was not used now: it was given before."""
        self.spared = self.prompt_tokens or 0, self.completion_tokens or 0
        self.prompt_tokens = self.completion_tokens = self.streamed = 0


class Bill(NamedTuple):
    """What a request cost, in micro-units of a currency (None without a price), and what it took of its limits.

    `saved` is what it would have cost had its answer not been there already; None where that was not so.
    """

    cost: int | None
    currency: str | None
    charges: list[Charge]
    saved: int | None = None


class Recorder:
    """Makes ids of inferences and appends records. Raises StorageFull where the disk has no room."""

    def __init__(self, spool: SpoolWriter, secrets: Secrets, holder: str) -> None:
        """`holder` is who holds the leases that requests are charged to."""
        self._spool, self._secrets, self._holder = spool, secrets, holder
        self._keys: dict[UUID, bytes] = {}

    def mint(self, workspace_id: UUID) -> UUID:
        """A new inference id, which only this workspace's key could have made."""
        key = self._keys.get(workspace_id)
        if key is None:
            key = self._keys[workspace_id] = self._secrets.derive("inference-id", workspace_id)
        return mint(key)

    def open(self, request: Admitted, body: bytes | None, reserved: list[Charge]) -> None:
        """Write that a request was admitted. `body` is what the engine is sent, None where content is not kept;
        `reserved` is the most that it takes of its limits."""
        target = request.target
        record = Opened(
            id=request.id,
            workspace_id=request.workspace_id,
            at_ms=_now(),
            operation=request.operation,
            model=request.model,
            purpose=request.purpose,
            actor=request.actor,
            endpoint_id=target.endpoint_id,
            plan_id=target.plan_id,
            variant_id=target.variant_id,
            version_id=target.version_id,
            engine=target.engine,
            adapters=[(part.digest, part.weight) for part in target.adapters],
            stream=request.stream,
            episode_id=request.episode_id,
            subject_id=request.subject_id,
            trace_id=request.trace_id,
            request=body,
            holder=self._holder if reserved else "",
            reserved=reserved,
            prompt_version_id=target.prompt.version_id if target.prompt and request.operation == "chat" else None,
        )
        self._spool.append(encode(record))
        crashpoint("gateway.after_open")

    def close(self, request: Admitted, outcome: Outcome, bill: Bill) -> None:
        """Write how a request ended and what it cost."""
        crashpoint("gateway.before_close")
        first = outcome.first_token
        record = Closed(
            id=request.id,
            workspace_id=request.workspace_id,
            at_ms=_now(),
            status=outcome.status,
            error_code=outcome.error_code,
            finish_reason=outcome.finish_reason,
            prompt_tokens=outcome.prompt_tokens,
            completion_tokens=outcome.completion_tokens,
            first_token_ms=None if first is None else (first - request.began) * 1000,
            duration_ms=(time.perf_counter() - request.began) * 1000,
            answer=outcome.answer if request.target.keeps_content else None,
            cost=bill.cost,
            currency=bill.currency,
            charges=bill.charges,
            degraded=outcome.degraded,
            engine=outcome.engine,
            engine_model=outcome.model,
            tries=outcome.tries,
            cache=outcome.cache,
            saved=bill.saved,
        )
        self._spool.append(encode(record))


def _now() -> int:
    return time.time_ns() // 1_000_000
