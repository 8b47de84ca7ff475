"""What the gateway counts. Names of endpoints are labels, and so their number is capped."""

import functools
from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from charkha.kit.telemetry import REGISTRY
from charkha.serve.recording import Admitted, Outcome

MOST_ENDPOINTS = 200
OTHER, NONE = "(other)", "(none)"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_requests = Counter(
    "charkha_requests", "Requests by endpoint and HTTP status.", ["endpoint", "status"], registry=REGISTRY
)
_seconds = Histogram(
    "charkha_request_seconds",
    "Time from the request to its last byte.",
    ["endpoint"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
_tokens = Counter("charkha_tokens", "Tokens read and written.", ["endpoint", "kind"], registry=REGISTRY)
in_flight = Gauge(
    "charkha_requests_in_flight", "Requests being answered now.", registry=REGISTRY, multiprocess_mode="livesum"
)
_known: set[str] = set()


def endpoint_label(name: str) -> str:
    """The label of an endpoint: its name, or OTHER once there are too many of them."""
    if not name:
        return NONE
    if name not in _known:
        if len(_known) >= MOST_ENDPOINTS:
            return OTHER
        _known.add(name)
    return name


# Looking a child up by its labels takes a lock and makes strings: once for each is enough.
@functools.cache
def _count(endpoint: str, status: int) -> Callable[[], None]:
    return _requests.labels(endpoint, str(status)).inc


@functools.cache
def _observe(endpoint: str) -> Callable[[float], None]:
    return _seconds.labels(endpoint).observe


@functools.cache
def _add(endpoint: str, kind: str) -> Callable[[float], None]:
    return _tokens.labels(endpoint, kind).inc


def refused(status: int) -> None:
    """Count a request that was refused before it went anywhere."""
    _count(NONE, status)()


def ended(request: Admitted, outcome: Outcome, seconds: float) -> None:
    """Count a request that was admitted and has ended."""
    label = endpoint_label(request.target.endpoint)
    _count(label, outcome.status)()
    _observe(label)(seconds)
    if outcome.prompt_tokens:
        _add(label, "prompt")(outcome.prompt_tokens)
    if outcome.completion_tokens:
        _add(label, "completion")(outcome.completion_tokens)
