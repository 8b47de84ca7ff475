"""What caches did, day by day and in all, as the page of caches draws it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

_MICRO = 1_000_000
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Saved:
    """What hits saved in one currency: micro-units on each day."""

    currency: str
    micro: list[int]

    @property
    def total(self) -> int:
        """On all days."""
        return sum(self.micro)


@dataclass(frozen=True)
class Days:
    """Hits, and looks into caches, on each day; and what was saved, by currency."""

    days: Sequence[date]
    hits: list[int]
    looks: list[int]
    saved: list[Saved]

    @property
    def rates(self) -> list[float | None]:
        """The part of looks that found something; None for days without any."""
        return [hits / looks if looks else None for hits, looks in zip(self.hits, self.looks, strict=True)]

    @property
    def rate(self) -> float | None:
        """The same of all days."""
        looks = sum(self.looks)
        return sum(self.hits) / looks if looks else None


def by_day(usage: Iterable[Facts], days: Sequence[date]) -> Days:
    """The rows of usage by day, one for each day and currency, put in the order of the days."""
    places = {day.isoformat(): at for at, day in enumerate(days)}
    hits, looks = [0] * len(days), [0] * len(days)
    saved: dict[str, list[int]] = {}
    for row in usage:
        at = places.get(row["day"])
        if at is None:
            continue
        hits[at] += row["cached"]
        looks[at] += row["cached"] + row["missed"]
        if row["saved"]:
            saved.setdefault(row["currency"], [0] * len(days))[at] += row["saved"]
    return Days(days, hits, looks, [Saved(currency, saved[currency]) for currency in sorted(saved)])


def money(micro: int, currency: str) -> str:
    """Micro-units as people read them: 12.5 EUR."""
    return f"{(Decimal(micro) / _MICRO).normalize():f} {currency}"


def lasting(seconds: int) -> str:
    """Seconds in the largest unit that they fill: 3600 → 1 hour, 90 → 90 seconds."""
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{seconds} second{'s' if seconds > 1 else ''}"
