"""From the bytes of a request to one that is admitted: what is asked is checked, who answers is chosen.

Reads memory alone. Raises our errors; nothing has been written or sent when it does.
"""

from dataclasses import dataclass
from typing import Any

from charkha.core.errors import Invalid
from charkha.core.records import Operation
from charkha.govern.keyring import INTERNAL_PREFIX, Principal
from charkha.serve.asgi import Headers
from charkha.serve.dialects import openai
from charkha.serve.dialects.checks import identifier
from charkha.serve.recording import Admitted, Recorder
from charkha.serve.routes import Resolver

LIVE, PURPOSES = "live", ("live", "evaluation", "playground")


@dataclass(frozen=True, slots=True)
class Order:
    """An admitted request, what its engine is to be sent, and whether a streaming client wants the usage."""

    request: Admitted
    body: dict[str, Any]
    wants_usage: bool

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that tell the client who answers, and the id that its feedback will name."""
        identity, target = str(self.request.id).encode(), self.request.target
        told = [(b"x-request-id", identity), (b"x-charkha-inference-id", identity)]
        if target.plan_number is not None:
            told += [(b"x-charkha-variant", target.variant.encode()), (b"x-charkha-plan", b"%d" % target.plan_number)]
        return told


class Admission:
    """Checks requests and picks who answers them."""

    def __init__(self, resolver: Resolver, recorder: Recorder) -> None:
        self._resolver, self._recorder = resolver, recorder

    def admit(self, caller: Principal, operation: Operation, headers: Headers, content: bytes, began: float) -> Order:
        """The order that a request is. Raises Invalid or NotFound naming what is wrong with it."""
        _check_content(headers)
        request = openai.parse(content)
        openai.check(request, operation)
        inference_id = self._recorder.mint(caller.workspace_id)
        episode = _identifier(headers, b"x-charkha-episode")
        unit = _identifier(headers, b"x-charkha-unit") or request.get("user") or episode or str(inference_id)
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
        return Order(admitted, body, openai.wants_usage(request))


def _check_content(headers: Headers) -> None:
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
