"""What the API answers about limits, prices and usage. Money is in micro-units: millionths of a currency's unit."""

from datetime import date, datetime
from uuid import UUID

import msgspec


class Limit(msgspec.Struct, frozen=True):
    """A limit and what is left of its window: never too high, for what gateways hold counts as gone.

    `spent` is what the log has seen used, `held` what gateways have leased beyond it; of that, the unused part comes back.
    """

    id: UUID
    subject: str
    subject_id: UUID
    measure: str
    window: str
    amount: int
    currency: str | None
    created_at: datetime
    remaining: int
    resets_at: datetime | None
    spent: int = 0
    held: int = 0


class Price(msgspec.Struct, frozen=True):
    """What a million tokens of a model cost, from `valid_from` until `valid_until`, or until a later price.

    `state`: "upcoming", "current", "replaced" by one that began later, or "past"; None within a ModelPrice.
    """

    id: UUID
    subject: str
    engine: str
    model: str
    currency: str
    prompt: int
    completion: int
    valid_from: datetime
    valid_until: datetime | None
    created_at: datetime
    state: str | None = None


class ModelPrice(msgspec.Struct, frozen=True):
    """A model that requests can reach under `names`, its price now, and the one that follows.

    `missing`: the currencies of limits of money that hold here, in which it has no price.
    """

    engine: str
    model: str
    names: list[str]
    price: Price | None
    upcoming: Price | None
    missing: list[str]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What was used by one value of each dimension that was asked for; `cost` is None where the model had no price.

    `cached` answers came out of a cache, which saved `saved`; for `missed` ones it was looked into in vain.
    """

    day: date | None = None
    month: date | None = None
    actor: str | None = None
    model: str | None = None
    engine: str | None = None
    workspace: str | None = None
    currency: str | None = None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: int | None = None
    cached: int = 0
    missed: int = 0
    saved: int | None = None
