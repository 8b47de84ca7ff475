"""From the bytes of a request to one that is admitted: what is asked is checked, who answers is chosen.

Reads memory alone. Raises our errors; nothing has been written or sent when it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from charkha.core.errors import Invalid
from charkha.core.records import Operation
from charkha.govern.keyring import INTERNAL_PREFIX, Principal
from charkha.serve.asgi import REQUEST_ID, Headers
from charkha.serve.caches import rules
from charkha.serve.caches.rules import Wish
from charkha.serve.dialects import openai
from charkha.serve.dialects.checks import identifier
from charkha.serve.dialects.dialect import Dialect, Telling
from charkha.serve.recording import Admitted, Recorder
from charkha.serve.routes import Resolver

LIVE, PURPOSES = "live", ("live", "evaluation", "playground")
_UNIT, _EPISODE = b"x-charkha-unit", b"x-charkha-episode"


class Surface(NamedTuple):
    """What is spoken at a path, and which operation of an engine answers there."""

    dialect: Dialect
    operation: Operation


@dataclass(frozen=True, slots=True)
class Order:
    """An admitted request, what its engine is to be sent, and whether a streaming client wants the usage.

    `telling` tells the answer in the client's dialect; None where the engine's own words are the client's. `wish` is what
    it may have of its endpoint's cache; None where there is none.
    """

    request: Admitted
    body: dict[str, Any]
    wants_usage: bool
    telling: Telling | None
    wish: Wish | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that tell the client who answers, and the id that its feedback will name."""
        identity, target = str(self.request.id).encode(), self.request.target
        told = [(REQUEST_ID, identity), (b"x-charkha-inference-id", identity)]
        if target.plan_number is not None:
            told += [(b"x-charkha-variant", target.variant.encode()), (b"x-charkha-plan", b"%d" % target.plan_number)]
        return told


class Admission:
    """Checks requests and picks who answers them."""

    def __init__(self, resolver: Resolver, recorder: Recorder) -> None:
        self._resolver, self._recorder = resolver, recorder

    def admit(self, caller: Principal, surface: Surface, headers: Headers, content: bytes, began: float) -> Order:
        """The order that a request is. Raises Invalid or NotFound naming what is wrong with it."""
        check_content(headers)
        operation = surface.operation
        request, telling = surface.dialect.understand(content, operation)
        inference_id = self._recorder.mint(caller.workspace_id)
        episode = _identifier(headers, _EPISODE)
        unit = unit_of(headers, request) or str(inference_id)
        target = self._resolver.resolve(caller.workspace_id, request["model"], unit)
        admitted = Admitted(
            id=inference_id,
            workspace_id=caller.workspace_id,
            actor=caller.actor,
            operation=operation,
            model=request["model"],
            target=target,
            stream=bool(request.get("stream")),
            purpose=_purpose(headers),
            episode_id=episode,
            subject_id=request.get("user"),
            trace_id=_trace(headers),
            began=began,
        )
        body = openai.upstream_body(
            request, operation, model=target.model, system_prompt=target.system_prompt, parameters=target.parameters
        )
        told = telling(str(inference_id), admitted.model) if telling else None
        wish = _wish(headers, admitted, body) if target.cache is not None else None
        return Order(admitted, body, openai.wants_usage(request), told, wish)


def unit_of(headers: Headers, request: Mapping[str, Any]) -> str | None:
    """Who keeps the variant that they were given: the unit, the user or the episode that is named, if any is."""
    return _identifier(headers, _UNIT) or request.get("user") or _identifier(headers, _EPISODE)


def check_content(headers: Headers) -> None:
    """Raise Invalid unless a body is said to be plain JSON."""
    kind = headers.get(b"content-type")
    if kind is not None and kind.partition(";")[0].strip().lower() != "application/json":
        raise Invalid(
            "The body has to be application/json.",
            remedy="Send it so, with Content-Type: application/json.",
            param="content-type",
            code="invalid_content_type",
        )
    if (headers.get(b"content-encoding") or "identity").lower() != "identity":
        raise Invalid(
            "A compressed body is not taken.",
            remedy="Send it as it is.",
            param="content-encoding",
            code="invalid_content_type",
        )


def _identifier(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    if value is not None:
        identifier(value, name.decode())
    return value


def _wish(headers: Headers, request: Admitted, body: Mapping[str, Any]) -> Wish | None:
    policy, control, asked = request.target.cache, headers.get(rules.CONTROL) or "", headers.get(rules.ASKED) or ""
    if policy is None:
        return None
    return rules.wish(policy, request.operation, body, request.purpose, control=control, asked=asked)


def _purpose(headers: Headers) -> str:
    """What the log says a request was for. Only processes of the installation may say that it is not live traffic."""
    internal = (headers.get(b"authorization") or "").partition(" ")[2].startswith(INTERNAL_PREFIX)
    said = headers.get(b"x-charkha-purpose")
    return said if internal and said in PURPOSES else LIVE


def _trace(headers: Headers) -> str | None:
    """The trace id of a W3C `traceparent`, or None where there is none that is sound."""
    version, _, rest = (headers.get(b"traceparent") or "").partition("-")
    trace_id = rest.partition("-")[0]
    sound = len(version) == 2 and len(trace_id) == 32 and not set(trace_id) - set("0123456789abcdef")
    return trace_id if sound and set(trace_id) != {"0"} else None
