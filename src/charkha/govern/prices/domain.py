"""What a request costs: pure, in whole micro-units (millionths of a currency unit), rounded up."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

_MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True):
    """What a model on an engine costs from `valid_from` until `valid_until` (excluded; None: until a later price).

    `prompt` and `completion` are micro-units of `currency` for a million tokens. `subject` says for whom it holds.
    """

    id: UUID
    subject: Literal["organisation", "workspace"]
    engine: str
    model: str
    currency: str
    prompt: int
    completion: int
    valid_from: datetime
    valid_until: datetime | None
    created_at: datetime

    def of(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The cost of a request in micro-units, rounded up: a token is never free where it has a price."""
        return -(-(prompt_tokens * self.prompt + completion_tokens * self.completion) // _MILLION)

    def is_valid(self, at: datetime) -> bool:
        """Whether it holds at an instant."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)


PriceBook = Mapping[tuple[UUID, str, str], Sequence[Price]]
"""(workspace or organisation, engine, model) → its prices, the one that began last first."""


def price_at(book: PriceBook, subjects: Sequence[UUID], engine: str, model: str, at: datetime) -> Price | None:
    """The price that holds at an instant: of the first subject that has one; of several, the one that began last."""
    for subject in subjects:
        for price in book.get((subject, engine, model), ()):
            if price.is_valid(at):
                return price
    return None
