"""From a finished inference to the rows of the log: pure, and never refused by PostgreSQL for what a client sent.

Text columns hold no NUL and integers fit their columns; whatever else a peer may send is kept as it came.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from charkha.core import ids
from charkha.core.records import BODY_VERSION, Closed, Opened
from charkha.observe.stream import Finished

LOST_STATUS = 499
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64, _INT32, _INT16 = 2**63 - 1, 2**31 - 1, 2**15 - 1


class Rows(NamedTuple):
    """The row of the inference, and that of its bodies unless its endpoint keeps no content."""

    inference: dict[str, Any]
    body: dict[str, Any] | None


def rows(finished: Finished) -> Rows:
    """The rows of one inference. Raises OverflowError when its time is none."""
    opened, closed = finished.opened, finished.closed
    start = {
        "workspace_id": opened.workspace_id,
        "id": opened.id,
        "started_at": _EPOCH + timedelta(milliseconds=opened.at_ms),
        "operation": opened.operation,
        "model": _text(opened.model),
        "purpose": _text(opened.purpose),
        "actor": _text(opened.actor),
        "endpoint_id": opened.endpoint_id,
        "plan_id": opened.plan_id,
        "variant_id": opened.variant_id,
        "version_id": opened.version_id,
        "prompt_version_id": opened.prompt_version_id,
        "engine": _text(opened.engine),
        "adapters": msgspec.json.encode([[_text(name), weight] for name, weight in opened.adapters]).decode(),
        "stream": opened.stream,
        "episode_id": _text(opened.episode_id),
        "subject_id": _text(opened.subject_id),
        "trace_id": _text(opened.trace_id),
    }
    start["charges"] = _charges(opened, closed)
    if closed and closed.engine:  # another way than the variant's own: neither its version nor its adapters answered
        start |= {"engine": _text(closed.engine), "version_id": None, "adapters": "[]"}
    return Rows(start | (_end(closed) if closed else _without_end(finished.lost)), _body(opened, closed))


def month(inference_id: UUID) -> str | None:
    """The month (`YYYYMM`, UTC) whose partition an id belongs to; None for an id beyond the calendar."""
    try:
        return f"{ids.instant(inference_id):%Y%m}"
    except ValueError:
        return None


def _end(closed: Closed) -> dict[str, Any]:
    return {
        "status": _bounded(closed.status, _INT16),
        "error_code": _text(closed.error_code),
        "finish_reason": _text(closed.finish_reason),
        "prompt_tokens": _bounded(closed.prompt_tokens, _INT32),
        "completion_tokens": _bounded(closed.completion_tokens, _INT32),
        "first_token_ms": closed.first_token_ms,
        "duration_ms": closed.duration_ms,
        "degraded": _text(closed.degraded),
        "engine_model": _text(closed.engine_model) or None,
        "tries": _bounded(closed.tries, _INT16),
        "cost": _bounded(closed.cost, _INT64),
        "currency": _text(closed.currency),
        "cache": _text(closed.cache),
        "saved": _bounded(closed.saved, _INT64),
    }


def _charges(opened: Opened, closed: Closed | None) -> str | None:
    """What was spent of leases: as it was settled, or all that was reserved where nobody knows how it ended."""
    charges = closed.charges if closed else opened.reserved
    return msgspec.json.encode({"holder": opened.holder, "of": charges}).decode() if charges else None


def _without_end(reason: str | None) -> dict[str, Any]:
    """Nobody knows how it ended: the client saw the connection break, or nothing."""
    unknown = (
        "finish_reason",
        "prompt_tokens",
        "completion_tokens",
        "first_token_ms",
        "duration_ms",
        "degraded",
        "cost",
        "currency",
        "engine_model",
        "tries",
        "cache",
        "saved",
    )
    return {"status": LOST_STATUS, "error_code": reason, **dict.fromkeys(unknown)}


def _body(opened: Opened, closed: Closed | None) -> dict[str, Any] | None:
    answer = closed.answer if closed else None
    if opened.request is None and answer is None:
        return None
    return {
        "workspace_id": opened.workspace_id,
        "id": opened.id,
        "subject_id": _text(opened.subject_id),
        "version": BODY_VERSION,
        "key_id": None,
        "request": opened.request,
        "answer": None if answer is None else answer.encode(),
    }


def _text(value: str | None) -> str | None:
    return None if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _bounded(value: int | None, most: int) -> int | None:
    return None if value is None else max(-most, min(value, most))
