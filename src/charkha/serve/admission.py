"""From the bytes of a request to one that is admitted: what is asked is checked, who answers is chosen.

Reads memory alone. Raises our errors; nothing has been written or sent when it does.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from charkha.core.errors import Invalid
from charkha.core.records import Operation
from charkha.govern.keyring import INTERNAL_PREFIX, Principal
from charkha.serve.asgi import REQUEST_ID, Headers
from charkha.serve.caches import rules
from charkha.serve.caches.rules import Wish
from charkha.serve.dialects import openai
from charkha.serve.dialects.checks import identifier
from charkha.serve.dialects.dialect import Dialect, Telling
from charkha.serve.prompts.applying import applied
from charkha.serve.recording import Admitted, Recorder
from charkha.serve.routes import Resolver

LIVE, PURPOSES = "live", ("live", "evaluation", "playground")
_JSON = "application/json"
_UNIT, _EPISODE, _TASK = b"x-charkha-unit", b"x-charkha-episode", b"x-charkha-task"


class Surface(NamedTuple):
    """What is spoken at a path, and which operation of an engine answers there."""

    dialect: Dialect
    operation: Operation


class Order(msgspec.Struct, frozen=True):
    """An admitted request, what its engine is to be sent, and whether a streaming client wants the usage.

    `telling` makes what tells the answer in the client's dialect of (inference id, model's name); None where the engine's own
    words are the client's. `body_for` makes the body for another engine of its `model` and `parameters`. `task` is what the
    client declares that the request is for. `added` are the bytes that a prompt put into the request. `wish` is what it may
    have of its endpoint's cache; None where there is none.
    """

    request: Admitted
    body: dict[str, Any]
    wants_usage: bool
    telling: Callable[[str, str], Telling] | None
    body_for: Callable[..., dict[str, Any]]
    task: str | None = None
    added: int = 0
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
        said, added = applied(request, target) if operation == "chat" else (request, 0)
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
        body_for = partial(openai.upstream_body, said, operation, system_prompt=target.system_prompt)
        body = body_for(model=target.model, parameters=target.parameters)
        task, wants_usage = _task(headers, request), openai.wants_usage(request)
        wish = _wish(headers, admitted, body) if target.cache is not None else None
        return Order(admitted, body, wants_usage, telling, body_for, task, added, wish)


def unit_of(headers: Headers, request: Mapping[str, Any]) -> str | None:
    """Who keeps the variant that they were given: the unit, the user or the episode that is named, if any is."""
    return _identifier(headers, _UNIT) or request.get("user") or _identifier(headers, _EPISODE)


def check_content(headers: Headers) -> None:
    """Raise Invalid unless a body is said to be plain JSON."""
    kind = headers.get(b"content-type")
    if kind is not None and kind != _JSON and kind.partition(";")[0].strip().lower() != "application/json":
        raise Invalid(
            "The body has to be application/json.",
            remedy="Send it so, with Content-Type: application/json.",
            param="content-type",
            code="invalid_content_type",
        )
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() not in ("", "identity"):
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


def _task(headers: Headers, request: Mapping[str, Any]) -> str | None:
    """What the client declares that a request is for: in the header, else as `task` in the body's `metadata`."""
    said = _identifier(headers, _TASK)
    if said is None and isinstance(metadata := request.get("metadata"), dict):
        task = metadata.get("task")
        said = task if isinstance(task, str) else None
    return said


def _wish(headers: Headers, request: Admitted, body: Mapping[str, Any]) -> Wish | None:
    policy, control, asked = request.target.cache, headers.get(rules.CONTROL) or "", headers.get(rules.ASKED) or ""
    if policy is None:
        return None
    return rules.wish(policy, request.operation, body, request.purpose, control=control, asked=asked)


def _purpose(headers: Headers) -> str:
    """What the log says a request was for. Only processes of the installation may say that it is not live traffic."""
    said = headers.get(b"x-charkha-purpose")
    if said not in PURPOSES:
        return LIVE
    internal = (headers.get(b"authorization") or "").partition(" ")[2].startswith(INTERNAL_PREFIX)
    return said if internal else LIVE


def _trace(headers: Headers) -> str | None:
    """The trace id of a W3C `traceparent`, or None where there is none that is sound."""
    told = headers.get(b"traceparent")
    if told is None:
        return None
    version, _, rest = told.partition("-")
    trace_id = rest.partition("-")[0]
    sound = len(version) == 2 and len(trace_id) == 32 and not set(trace_id) - set("0123456789abcdef")
    return trace_id if sound and set(trace_id) != {"0"} else None
