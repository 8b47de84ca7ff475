"""May this request be answered out of a cache, may its answer be kept, and under which key? Pure.

What a key holds is everything that the answer depends on: the endpoint's variant, what that is, and the body that the
engine is sent. The workspace is not in it, for each workspace has a cache of its own.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from charkha.core.records import Operation
from charkha.serve.caches.policy import CachePolicy
from charkha.serve.targets import Target

ASKED, CONTROL = b"x-charkha-cache", b"cache-control"
ALWAYS = "always"
DEFAULT_TEMPERATURE = 1.0  # OpenAI's, where a request names none
MAX_QUESTION = 8_000  # characters of a question of which an embedding is asked
_MEASURED = "evaluation"
_DELIVERY = frozenset({"stream", "stream_options"})  # how an answer is told, not what it is
_encode = msgspec.json.Encoder(order="sorted").encode


class Wish(NamedTuple):
    """What a request may have of a cache: a look, for answers no older than `max_age` seconds; and that its own is kept."""

    look: bool
    keep: bool
    max_age: float


NOTHING = Wish(False, False, 0)


def wish(
    policy: CachePolicy, operation: Operation, body: Mapping[str, Any], purpose: str, *, control: str, asked: str
) -> Wish:
    """What a request may have. `control` is its Cache-Control, `asked` its x-charkha-cache: `always` lifts the bounds.

    What is measured gets no answers that were given before.
    """
    if purpose == _MEASURED:
        return NOTHING
    directives = [each.strip().lower() for each in control.split(",")]
    if "no-store" in directives or not (asked.strip().lower() == ALWAYS or _is_steady(policy, operation, body)):
        return NOTHING
    age = _max_age(directives, policy.seconds)
    return Wish("no-cache" not in directives and age > 0, True, age)


def key(operation: Operation, target: Target, body: Mapping[str, Any]) -> bytes:
    """The name of a request's answer: 32 bytes, equal for equal requests alone; the order of JSON's keys is none."""
    return _digest(operation, target, {name: body[name] for name in body.keys() - _DELIVERY})


def question(operation: Operation, target: Target, body: Mapping[str, Any]) -> tuple[bytes, str] | None:
    """What a chat asks last, and the name of everything around that; None for what has no last question in words,
    or one that is too long."""
    messages = body.get("messages")
    if operation != "chat" or not messages or messages[-1]["role"] != "user":
        return None
    last = dict(messages[-1])
    text = last.pop("content", None)
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_QUESTION:
        return None
    around = {name: body[name] for name in body.keys() - _DELIVERY - {"messages"}}
    return _digest(operation, target, {**around, "messages": [*messages[:-1], last]}), text


def _digest(operation: Operation, target: Target, body: Mapping[str, Any]) -> bytes:
    blend = [(part.digest, part.weight) for part in target.adapters]
    told = (operation, str(target.endpoint_id), str(target.variant_id), target.cache_epoch, target.engine, blend, body)
    return hashlib.blake2b(_encode(told), digest_size=32).digest()


def _is_steady(policy: CachePolicy, operation: Operation, body: Mapping[str, Any]) -> bool:
    """Whether asking twice would hardly bring another answer, and none that acts."""
    if operation == "embedding":
        return True
    if body.get("tools") and not policy.tools:
        return False
    temperature: float = body.get("temperature", DEFAULT_TEMPERATURE)
    return temperature <= policy.max_temperature


def _max_age(directives: list[str], seconds: int) -> float:
    ages = [each.removeprefix("max-age=") for each in directives if each.startswith("max-age=")]
    return min([seconds, *(int(age) for age in ages if age.isdecimal() and len(age) < 10)])
