"""What an endpoint's cache may do, as its owner sets it. Pure."""

from collections.abc import Collection

import msgspec

from charkha.core.errors import Invalid

MAX_SECONDS = 30 * 86_400
MIN_THRESHOLD = 0.5
_MAX_NAME = 300


class SemanticPolicy(msgspec.Struct, frozen=True):
    """Also answer what asks alike: embeddings by a model of an engine, whose cosine is `threshold` (0.5 to 1) at least."""

    engine: str
    model: str
    threshold: float = 0.95


class CachePolicy(msgspec.Struct, frozen=True):
    """How long, in seconds, an answer is given again, and to what.

    A request with a higher temperature than `max_temperature` (one that names none counts as 1), or, unless `tools`,
    with tools, is left alone.
    """

    seconds: int
    max_temperature: float = 0.3
    tools: bool = False
    semantic: SemanticPolicy | None = None


def check_policy(policy: CachePolicy, engines: Collection[str]) -> None:
    """Raise Invalid for a policy outside its ranges, or for an engine that is not one of `engines`."""
    if not 1 <= policy.seconds <= MAX_SECONDS:
        raise Invalid(
            f"An answer is kept for 1 to {MAX_SECONDS} seconds, not {policy.seconds}.",
            remedy="Give a number between; null turns the cache off.",
            param="cache.seconds",
        )
    if not 0 <= policy.max_temperature <= 2:
        raise Invalid(
            f"A temperature lies between 0 and 2, so {policy.max_temperature:g} is none.",
            remedy="Give one between; 2 lets every request in.",
            param="cache.max_temperature",
        )
    if policy.semantic is not None:
        _check_semantic(policy.semantic, engines)


def _check_semantic(semantic: SemanticPolicy, engines: Collection[str]) -> None:
    if semantic.engine not in engines:
        raise Invalid(
            f"There is no engine '{semantic.engine[:100]}'.",
            remedy=f"There are: {', '.join(sorted(engines))}.",
            param="cache.semantic.engine",
        )
    if not 1 <= len(semantic.model) <= _MAX_NAME or "\0" in semantic.model:
        raise Invalid(
            f"A model's name has 1 to {_MAX_NAME} characters.",
            remedy="Name an embedding model of that engine.",
            param="cache.semantic.model",
        )
    if not MIN_THRESHOLD <= semantic.threshold <= 1:
        raise Invalid(
            f"A threshold lies between {MIN_THRESHOLD} and 1, so {semantic.threshold:g} is none.",
            remedy="Begin with 0.95 and look at what is answered.",
            param="cache.semantic.threshold",
        )
