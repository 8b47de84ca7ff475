"""How much feedback came day by day, and what it said, as charts take it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

MOST_DAYS = 92
USUAL_DAYS = 14


@dataclass(frozen=True)
class Span:
    """Days from `first` to `last`, both among them. `shortened`: more were asked for."""

    first: date
    last: date
    shortened: bool = False

    @property
    def days(self) -> list[date]:
        """Each of them."""
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    @property
    def query(self) -> dict[str, str]:
        """The span as the API is asked for it."""
        until = self.last + timedelta(days=1)
        return {"since": f"{self.first}T00:00:00Z", "until": f"{until}T00:00:00Z"}


@dataclass(frozen=True)
class Trend:
    """One kind of feedback: how many pieces on each day, and the means of those that have a value."""

    kind: str
    counts: list[int]
    means: list[float | None]

    @property
    def total(self) -> int:
        """How many pieces on all days."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """The mean of all their values; None for kinds without one."""
        known = [(count, mean) for count, mean in zip(self.counts, self.means, strict=True) if mean is not None]
        total = sum(count for count, _ in known)
        return sum(count * mean for count, mean in known) / total if total else None


def span(since: str | None, until: str | None, today: date) -> Span | None:
    """The days between two dates, the second not among them; at most 92, by default 14 up to today. None: no such days."""
    try:
        last = date.fromisoformat(until) - timedelta(days=1) if until else today
        first = date.fromisoformat(since) if since else last - timedelta(days=USUAL_DAYS - 1)
    except (ValueError, OverflowError):
        return None
    if first > last:
        return None
    shortest = last - timedelta(days=MOST_DAYS - 1)
    return Span(max(first, shortest), last, shortened=first < shortest)


def trends(points: Iterable[Mapping[str, Any]], over: Span, kind: str | None = None) -> list[Trend]:
    """Each kind that came, or one `kind`, from the API's points; the most frequent first."""
    found: dict[str, dict[date, Mapping[str, Any]]] = {}
    for point in points:
        if kind is None or point["kind"] == kind:
            found.setdefault(point["kind"], {})[datetime.fromisoformat(point["at"]).date()] = point
    made = [
        Trend(
            name,
            [by_day[day]["count"] if day in by_day else 0 for day in over.days],
            [by_day[day]["mean"] if day in by_day else None for day in over.days],
        )
        for name, by_day in found.items()
    ]
    return sorted(made, key=lambda each: -each.total)
