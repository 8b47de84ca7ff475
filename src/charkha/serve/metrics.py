"""What the gateway counts, by engine: no label names a tenant or its endpoints, so anybody may scrape it."""

import functools
from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from charkha.kit.telemetry import REGISTRY
from charkha.serve.recording import Admitted, Outcome

NONE = "(none)"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_requests = Counter("charkha_requests", "Requests by engine and HTTP status.", ["engine", "status"], registry=REGISTRY)
_seconds = Histogram(
    "charkha_request_seconds",
    "Time from the request to its last byte.",
    ["engine"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
_tokens = Counter("charkha_tokens", "Tokens read and written.", ["engine", "kind"], registry=REGISTRY)
_cached = Counter(
    "charkha_cache_requests",
    "Requests that looked into a cache, by what it had.",
    ["engine", "cache"],
    registry=REGISTRY,
)
cache_bytes = Gauge(
    "charkha_cache_bytes", "Bytes of answers kept to be given again.", registry=REGISTRY, multiprocess_mode="livesum"
)
cache_answers = Gauge(
    "charkha_cache_answers", "Answers kept to be given again.", registry=REGISTRY, multiprocess_mode="livesum"
)
in_flight = Gauge(
    "charkha_requests_in_flight", "Requests being answered now.", registry=REGISTRY, multiprocess_mode="livesum"
)


# Looking a child up by its labels takes a lock and makes strings: once for each is enough.
@functools.cache
def _count(engine: str, status: int) -> Callable[[], None]:
    return _requests.labels(engine, str(status)).inc


@functools.cache
def _observe(engine: str) -> Callable[[float], None]:
    return _seconds.labels(engine).observe


@functools.cache
def _add(engine: str, kind: str) -> Callable[[float], None]:
    return _tokens.labels(engine, kind).inc


@functools.cache
def _look(engine: str, cache: str) -> Callable[[], None]:
    return _cached.labels(engine, cache).inc


def refused(status: int) -> None:
    """Count a request that was refused before it went anywhere."""
    _count(NONE, status)()


def ended(request: Admitted, outcome: Outcome, seconds: float) -> None:
    """Count a request that was admitted and has ended."""
    label = outcome.engine or request.target.engine
    _count(label, outcome.status)()
    _observe(label)(seconds)
    if outcome.cache is not None:
        _look(label, outcome.cache)()
    if outcome.prompt_tokens:
        _add(label, "prompt")(outcome.prompt_tokens)
    if outcome.completion_tokens:
        _add(label, "completion")(outcome.completion_tokens)
