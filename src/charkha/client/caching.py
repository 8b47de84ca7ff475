"""What the API answers about caches: which answers are given again, and what that saved."""

from uuid import UUID

import msgspec


class SemanticPolicy(msgspec.Struct, frozen=True):
    """Also answer what asks alike: embeddings by a model of an engine, whose cosine is `threshold` at least."""

    engine: str
    model: str
    threshold: float = 0.95


class CachePolicy(msgspec.Struct, frozen=True):
    """How long, in seconds, an endpoint gives an answer again, and to what."""

    seconds: int
    max_temperature: float = 0.3
    tools: bool = False
    semantic: SemanticPolicy | None = None


class CacheUse(msgspec.Struct, frozen=True):
    """An endpoint's cache and what it did in some days. `saved` is in millionths, by currency.

    `hit_rate` is of the requests that looked into the cache, None where there were none.
    """

    id: UUID
    endpoint: str
    cache: CachePolicy | None
    hits: int
    misses: int
    hit_rate: float | None
    saved: dict[str, int]
