"""What was used, out of the API's rows: sums for a table, and columns for a picture. Pure.

Currencies are never added to one another, and requests without a price are counted, not taken for free.
"""

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from charkha.console.filters import NONE, plain
from charkha.console.spending import MICRO

MOST_DAYS, DAYS_AS_DAYS, LAYERS = 400, 92, 5
USUAL = "30"
RANGES = {
    "7": "7 days",
    "30": "30 days",
    "90": "90 days",
    "month": "this month",
    "last-month": "last month",
    "365": "12 months",
}
COLUMNS = {"model": "model", "engine": "engine", "key": "actor", "workspace": "workspace"}
"""What a table can be by, and the column of the API's rows that tells it."""
OTHERS = "all others"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """Days from `first` to `last`, both among them; more than a quarter of a year is drawn by month."""

    first: date
    last: date

    @property
    def unit(self) -> str:
        """day or month: what one column of the picture stands for, as the API names it."""
        return "day" if (self.last - self.first).days < DAYS_AS_DAYS else "month"

    @property
    def columns(self) -> list[date]:
        """Each day of it, or the first of each month."""
        if self.unit == "day":
            return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]
        months = range(12 * self.first.year + self.first.month - 1, 12 * self.last.year + self.last.month)
        return [date(month // 12, month % 12 + 1, 1) for month in months]


def span(wanted: str, since: str | None, until: str | None, today: date) -> Span | None:
    """The days of a range by its name, or those that the two dates say instead. None: there are no such days."""
    first, last = _named(wanted, today)
    try:
        if since or until:
            last = date.fromisoformat(until) if until else today
            first = date.fromisoformat(since) if since else last - timedelta(days=int(USUAL) - 1)
    except (ValueError, OverflowError):
        return None
    return Span(first, last) if 0 <= (last - first).days <= MOST_DAYS else None


def _named(wanted: str, today: date) -> tuple[date, date]:
    start = today.replace(day=1)
    if wanted == "month":
        return start, today
    if wanted == "last-month":
        end = start - timedelta(days=1)
        return end.replace(day=1), end
    if wanted == "365":
        year, month = divmod(12 * today.year + today.month - 12, 12)
        return date(year, month + 1, 1), today
    days = int(wanted if wanted in RANGES else USUAL)
    return today - timedelta(days=days - 1), today


@dataclass
class Total:
    """Sums of rows. `costs` are micro-units by currency; `unpriced` are the requests whose cost nobody knows."""

    requests: int = 0
    read: int = 0
    written: int = 0
    unpriced: int = 0
    costs: dict[str, int] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.read + self.written

    def add(self, row: Row) -> None:
        """Add one row of the API."""
        self.requests += row["requests"]
        self.read += row["prompt_tokens"]
        self.written += row["completion_tokens"]
        if row["cost"] is None:
            self.unpriced += row["requests"]
        else:
            self.costs[row["currency"]] = self.costs.get(row["currency"], 0) + row["cost"]


def total(rows: Iterable[Row]) -> Total:
    """All of them."""
    summed = Total()
    for row in rows:
        summed.add(row)
    return summed


def grouped(rows: Iterable[Row], column: str) -> dict[Any, Total]:
    """Sums by the value of a column: those with the most tokens first, then those with the most requests."""
    found: dict[Any, Total] = {}
    for row in rows:
        found.setdefault(row[column], Total()).add(row)
    return dict(sorted(found.items(), key=lambda each: (-each[1].tokens, -each[1].requests, str(each[0]))))


@dataclass(frozen=True)
class Picture:
    """Columns that lie upon one another: `series` for the macro `plot`, `told` for who cannot see it."""

    id: str
    title: str
    explanation: str
    unit: str
    series: list[dict[str, Any]]
    told: str


def pictures(rows: Sequence[Row], over: Span, column: str | None, names: Mapping[Any, str]) -> list[Picture]:
    """Requests, tokens and each currency over time, in layers by the values of `column`, the largest five by name."""
    if not rows:
        return []
    order = list(grouped(rows, column)) if column else [None]
    layers = {value: plain(names.get(value) or value or NONE, 60) for value in order[:LAYERS]}
    of: dict[tuple[str, str], Total] = {}
    for row in rows:
        value = row[column] if column else None
        name = ("all" if not column else layers.get(value, OTHERS), str(row[over.unit]))
        of.setdefault(name, Total()).add(row)
    shown = ["all"] if not column else list(dict.fromkeys([*layers.values(), *([OTHERS] if order[LAYERS:] else [])]))
    currencies = sorted({each for summed in of.values() for each in summed.costs})
    return [_picture(measure, over, shown, of) for measure in ("requests", "tokens", *currencies)]


_TITLES = {
    "requests": ("Requests", "Requests that the log has, those that failed too."),
    "tokens": ("Tokens", "Read and written, as engines counted them."),
}


def _picture(measure: str, over: Span, shown: Sequence[str], of: Mapping[tuple[str, str], Total]) -> Picture:
    title, explanation = _TITLES.get(measure, (f"Cost in {measure}", "What requests with a price in it cost."))
    days = over.columns
    heights = {name: [_value(of.get((name, str(day))), measure) for day in days] for name in shown}
    series = [
        {"label": name, "points": [[_at(day), high] for day, high in zip(days, values, strict=True)]}
        for name, values in heights.items()
    ]
    sums = [sum(each) for each in zip(*heights.values(), strict=True)]
    most = sums.index(max(sums))
    told = f"{title} by {over.unit} from {over.first} to {over.last}: {sum(sums):,g} in all"
    if sums[most]:
        told += f", most in the {over.unit} of {days[most]} with {sums[most]:,g}"
    return Picture(f"plot-{measure.lower()}", title, explanation, measure, series, f"{told}.")


def _value(summed: Total | None, measure: str) -> float:
    if summed is None:
        return 0
    if measure in ("requests", "tokens"):
        return int(getattr(summed, measure))
    return summed.costs.get(measure, 0) / MICRO


def _at(day: date) -> int:
    """The begin of a day in UTC, in seconds since the epoch."""
    return calendar.timegm(day.timetuple())
