"""What a failed try means: whether the engine is to blame for it, and what is to be done next. Pure."""

from typing import Literal, NamedTuple

import aiohttp

from charkha.core.errors import CharkhaError, Timeout
from charkha.serve.upstream import (
    CannotAnswer,
    EngineAway,
    EngineBroke,
    EngineBusy,
    EngineErred,
    EngineFailed,
    EngineRejects,
    EngineThrottles,
)

Next = Literal["wait", "retry", "other", "tell"]
"""Ask again once the engine is back; ask again at once; ask elsewhere alone; tell the client."""
LONGEST_REST = 2.0
"""Seconds of a `Retry-After` that a request waits for."""
_TOO_LONG = "context_length_exceeded"


class NoFirstByte(Timeout):
    """An engine did not begin to answer in time."""


class BreakerOpen(EngineAway):
    """The engine has failed too often to be asked now."""


class Verdict(NamedTuple):
    """`reason` is told in `x-charkha-degraded`; `blamed`: it counts against the engine; `gone`: it may be restarting."""

    error: CharkhaError
    reason: str
    then: Next
    blamed: bool = False
    gone: bool = False


class TryFailed(Exception):
    """A try that has ended without an answer, after which something else may be tried."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


def judged(error: Exception, engine: str) -> Verdict | None:
    """What a failure means, or None for one that is nobody's: a fault of ours."""
    match error:
        case EngineAway():
            return Verdict(error, error.code, "wait", blamed=True, gone=True)
        case EngineBroke():
            return Verdict(error, error.code, "retry", blamed=True, gone=True)
        case EngineThrottles():
            short = error.rest is not None and error.rest <= LONGEST_REST
            return Verdict(error, "rate_limited", "retry" if short else "other")
        case EngineRejects() | CannotAnswer():
            return Verdict(error, "engine_refused", "other")
        case EngineErred() | EngineBusy():
            return Verdict(error, error.code, "retry", blamed=True)
        case EngineFailed():
            return Verdict(error, error.code, "other", blamed=True)
        case NoFirstByte():
            return Verdict(error, error.code, "other")
        case aiohttp.ClientError():
            lost = EngineFailed(f"The engine '{engine}' broke off its answer.", code="engine_lost", remedy="Try again.")
            return Verdict(lost, "engine_lost", "retry", blamed=True, gone=True)
        case CharkhaError():
            return Verdict(error, error.code, "other" if error.code == _TOO_LONG or error.status >= 500 else "tell")
        case _:
            return None
