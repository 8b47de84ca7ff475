"""Where a request can go, as the hot path sees it: immutable, made when the snapshot is read, picked by a hash."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from charkha.core.targets import VersionTarget
from charkha.serve.caches.policy import CachePolicy
from charkha.serve.domain import bucket
from charkha.serve.prompts.compiled import Compiled
from charkha.serve.routing.domain import ANYTHING, PLAIN, Reach, Routing

__all__ = ["Blend", "Route", "Target", "VersionTarget"]


class Blend(NamedTuple):
    """One adapter of a target: digest (SHA-256, hex) of its GGUF file, weight, and the version that holds the file."""

    digest: str
    weight: float
    version_id: UUID | None


@dataclass(frozen=True, slots=True)
class Target:
    """One way to answer: a model on an engine, with what is blended on it, said before it and set by default.

    Without an endpoint (a version or a base model called by its name) nothing of the content is kept. `alternatives`
    are the other ways of the same variant, as targets that have neither adapters nor alternatives. `variables` are
    the names of the values that requests may bring: those of the prompts of all variants of the plan.
    `cache_epoch` rises when the cache's answers are to be forgotten.
    """

    engine: str
    model: str
    adapters: tuple[Blend, ...] = ()
    system_prompt: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version_id: UUID | None = None
    endpoint: str = ""
    endpoint_id: UUID | None = None
    plan_id: UUID | None = None
    plan_number: int | None = None
    variant: str = ""
    variant_id: UUID | None = None
    keeps_content: bool = False
    reach: Reach = ANYTHING
    routing: Routing = PLAIN
    alternatives: tuple["Target", ...] = ()
    prompt: Compiled | None = None
    variables: frozenset[str] = frozenset()
    cache: CachePolicy | None = None
    cache_epoch: int = 0

    @classmethod
    def of_version(cls, version: VersionTarget) -> "Target":
        """The target that a registered version is when it is called by its own name."""
        adapters = tuple(Blend(digest, weight, version.version_id) for digest, weight in version.adapters)
        return cls(version.engine, version.model, adapters, version.system_prompt, version_id=version.version_id)


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint's live plan: its targets with the upper bounds of their ranges of buckets, ascending.

    `cache_epoch` is None where no answer is given again.
    """

    endpoint_id: UUID
    name: str
    plan_id: UUID
    number: int
    keeps_content: bool
    candidate_id: UUID
    targets: tuple[tuple[int, Target], ...]
    cache_epoch: int | None = None

    def choose(self, unit: str) -> Target:
        """The target for a unit: always the same one while the plan stands."""
        if len(self.targets) == 1:
            return self.targets[0][1]
        place = bucket(self.endpoint_id, self.candidate_id, unit)
        return next(target for bound, target in self.targets if place < bound)
