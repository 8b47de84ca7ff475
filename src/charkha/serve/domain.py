"""Endpoints, variants and plans as values, and the judgement about them: what is valid, and who gets which variant.

Pure: no clock, no I/O. A plan is immutable. Its last variant is the candidate, the ones before it are the baseline.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from charkha.core.errors import Invalid
from charkha.serve.caches.policy import CachePolicy
from charkha.serve.routing.domain import PLAIN, Alternative, Routing

BUCKETS = 10_000
PER_CENT = BUCKETS // 100
MAX_VARIANTS, MAX_ADAPTERS, MAX_WEIGHT = 16, 8, 4.0
MAX_PROMPT, MAX_LABELS = 100_000, 1_000

_ENDPOINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VARIANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+ -]{0,255}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Adapter(msgspec.Struct, frozen=True):
    """One part of a blend: the SHA-256 (hex) of a GGUF adapter file, its weight, and the version that it is of."""

    digest: str
    weight: float = 1.0
    version_id: UUID | None = None


class Variant(msgspec.Struct, frozen=True):
    """What answers: a model on an engine, adapters blended on it, a system prompt, default parameters.

    `alternatives` are other ways to the same end, `routing` says how they are chosen among. `prompt` (`name@number`) is
    the version of a prompt that it speaks with, instead of the system prompt alone.
    """

    id: UUID
    endpoint_id: UUID
    name: str
    engine: str
    model: str
    version_id: UUID | None
    adapters: list[Adapter]
    system_prompt: str | None
    parameters: dict[str, Any]
    created_at: datetime | None = None
    alternatives: list[Alternative] = []
    routing: Routing = PLAIN
    prompt: str | None = None
    prompt_version_id: UUID | None = None


class Share(msgspec.Struct, frozen=True):
    """How much of the traffic a variant gets, in whole per cent."""

    variant_id: UUID
    share: int


class Plan(msgspec.Struct, frozen=True):
    """Who gets how much. `served_from` is told to whoever made it: the snapshot version that first shows it."""

    id: UUID
    endpoint_id: UUID
    number: int
    shares: list[Share]
    reason: str
    actor: str
    previous_id: UUID | None
    created_at: datetime | None = None
    served_from: int | None = None


class Endpoint(msgspec.Struct, frozen=True):
    """A name that applications call, what answers there, whether the log keeps what was said, and answers given again.

    `plan` and `variants` stand where one endpoint was asked for, and in a list where they were.
    `served_from`: see Plan.
    """

    id: UUID
    name: str
    labels: list[str] | None
    keeps_content: bool
    live_plan_id: UUID
    created_at: datetime
    plan: Plan | None = None
    variants: list[Variant] = []
    served_from: int | None = None
    cache: CachePolicy | None = None


def bucket(endpoint_id: UUID, candidate_id: UUID, unit: str) -> int:
    """The place of a unit (a user, an episode) in 0 ≤ place < 10,000; evenly spread, and independent between rollouts.

    BLAKE2b keyed with endpoint and candidate: each candidate meets other people first.
    """
    digest = hashlib.blake2b(unit.encode(), digest_size=8, key=endpoint_id.bytes + candidate_id.bytes).digest()
    return int.from_bytes(digest) % BUCKETS


def bounds(shares: Sequence[Share]) -> tuple[tuple[int, UUID], ...]:
    """Upper bounds of the variants' ranges of buckets, ascending, the last variant of the plan first.

    The candidate holds [0, share), so whoever had it keeps it while its share grows.
    """
    reached, found = 0, []
    for each in reversed(shares):
        if each.share:
            reached += each.share * PER_CENT
            found.append((reached, each.variant_id))
    return tuple(found)


def assign(shares: Sequence[Share], endpoint_id: UUID, unit: str) -> UUID:
    """The variant that a unit gets under a plan: always the same one while the plan stands."""
    place = bucket(endpoint_id, shares[-1].variant_id, unit)
    return next(variant_id for bound, variant_id in bounds(shares) if place < bound)


def check_shares(shares: Sequence[Share], variants: Sequence[UUID]) -> None:
    """Raise Invalid unless the shares are of distinct variants of the endpoint, 0 to 100 each, 100 in all."""
    if not 1 <= len(shares) <= MAX_VARIANTS:
        raise Invalid(
            f"A plan has 1 to {MAX_VARIANTS} shares, not {len(shares)}.",
            remedy="Give the traffic to fewer variants.",
            param="shares",
        )
    if any(not 0 <= each.share <= 100 for each in shares) or (total := sum(each.share for each in shares)) != 100:
        told = "out of range" if any(not 0 <= each.share <= 100 for each in shares) else f"{total} in all"
        raise Invalid(f"The shares are {told}.", param="shares", remedy="Give 0 to 100 each, 100 in all.")
    if len({each.variant_id for each in shares}) != len(shares):
        raise Invalid("A variant stands twice in the plan.", param="shares", remedy="Name each variant once.")
    strange = [each.variant_id for each in shares if each.variant_id not in variants]
    if strange:
        raise Invalid(
            f"Variant {strange[0]} is not one of this endpoint.",
            param="shares",
            remedy="`charkha endpoints show` lists its variants.",
        )


def check_endpoint(name: str, labels: Sequence[str] | None) -> None:
    """Raise Invalid for a name that could not be called, or that could be taken for an id or a version."""
    if not _ENDPOINT_NAME.fullmatch(name) or _UUID.fullmatch(name):
        raise Invalid(
            f"'{name[:64]}' is no name for an endpoint.",
            param="name",
            remedy="Use 1 to 64 letters, digits, '.', '_' and '-', not an id; begin with a letter or digit.",
        )
    for label in labels or ():
        if not 1 <= len(label) <= 200 or "\0" in label:
            raise Invalid(
                "A label has 1 to 200 characters.", remedy="Give shorter labels, none of them empty.", param="labels"
            )
    if labels is not None and (not 1 <= len(labels) <= MAX_LABELS or len(set(labels)) != len(labels)):
        raise Invalid(f"Labels are 1 to {MAX_LABELS} different words.", param="labels", remedy="Or leave them out.")


def check_variant(name: str, adapters: Sequence[Adapter], system_prompt: str | None) -> None:
    """Raise Invalid for a name that cannot stand in a header, a blend that cannot be, or an endless prompt."""
    if not _VARIANT_NAME.fullmatch(name):
        raise Invalid(
            f"'{name[:64]}' is no name for a variant.",
            param="name",
            remedy="Use 1 to 256 letters, digits and any of ._:@/+- and space; begin with a letter or digit.",
        )
    if len(adapters) > MAX_ADAPTERS or len({each.digest for each in adapters}) != len(adapters):
        raise Invalid(
            f"A blend is of at most {MAX_ADAPTERS} different adapters.",
            remedy="Name fewer, each once.",
            param="adapters",
        )
    for each in adapters:
        if not _DIGEST.fullmatch(each.digest):
            raise Invalid(
                "An adapter is named by the SHA-256 of its file, 64 hex digits.",
                remedy="Take the name from a version.",
                param="adapters",
            )
        if not -MAX_WEIGHT <= each.weight <= MAX_WEIGHT:
            raise Invalid(
                f"A weight lies between -{MAX_WEIGHT} and {MAX_WEIGHT}.",
                remedy="Give a weight between, usually 1.",
                param="adapters",
            )
    if system_prompt is not None and (len(system_prompt) > MAX_PROMPT or "\0" in system_prompt):
        raise Invalid(
            f"A system prompt is text of at most {MAX_PROMPT} characters.",
            remedy="Give a shorter text.",
            param="system_prompt",
        )
