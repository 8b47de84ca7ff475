"""Limits, prices and amounts as people read and type them: in the currency's unit, never rounded in anybody's favour. Pure.

The API speaks of money in micro-units, millionths of the currency's unit.
"""

import calendar
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from charkha.console import filters
from charkha.console.forms import Form, text
from charkha.core.errors import Invalid

MICRO = 1_000_000
MEASURES = {"requests": "requests", "tokens": "tokens", "money": "money", "concurrency": "requests at once"}
WINDOWS = {"minute": "a minute", "hour": "an hour", "day": "a day", "month": "a month", "total": "in all"}
SUBJECTS = {"key": "a key", "workspace": "the workspace", "organisation": "the organisation"}
NEAR = 0.8
_TYPED = re.compile(r"[0-9]{1,16}(\.[0-9]{1,6})?")
Facts = Mapping[str, Any]


def money(micro: int | None, currency: str | None) -> str:
    """12500000 EUR → "12.50 EUR": exact, with two to six decimals; None → a dash."""
    if micro is None:
        return filters.NONE
    whole, rest = f"{Decimal(micro) / MICRO:,.6f}".split(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}\u202f{currency or ''}".replace(",", "\u202f").rstrip()


def about(micro: int | None, currency: str | None) -> str:
    """Money to the digits that matter, for sums: "1 234.57 EUR", "0.0012 EUR". What is not zero never reads as zero."""
    if micro is None or micro == 0:
        return money(micro, currency)
    value = abs(micro)
    step = 10_000 if value >= MICRO else max(1, 10 ** (len(str(value)) - 2))
    return money(int((Decimal(micro) / step).quantize(1, ROUND_HALF_EVEN)) * step, currency)


def amount(units: int, limit: Facts) -> str:
    """Units of a limit: "1 000 tokens", "12.50 EUR", "8 requests at once"."""
    if limit["measure"] == "money":
        return money(units, limit["currency"])
    return f"{filters.number(units)} {MEASURES[limit['measure']]}"


def words(limit: Facts) -> str:
    """A limit in words: "600 requests a minute", "250.00 EUR a month", "8 requests at once"."""
    period = "" if limit["measure"] == "concurrency" else f" {WINDOWS[limit['window']]}"
    return amount(limit["amount"], limit) + period


class Bar(NamedTuple):
    """How full a limit is: parts of its amount, 0 to 1, rounded up; `passed` is the part of its window that is over.

    `level`: full, near (four fifths gone), or fine. `label` tells the same in words.
    """

    spent: float
    held: float
    passed: float | None
    level: str
    label: str


def bar(limit: Facts, now: datetime) -> Bar:
    """The bar of a limit. It never shows more left than there is: a limit that was lowered beneath what is spent is full."""
    whole, gone = limit["amount"], limit["spent"] + limit["held"]
    if limit["remaining"] <= 0:
        level, spent = "full", min(1.0, limit["spent"] / whole) if whole else 1.0
        held = 1.0 - spent
    else:
        spent, held = limit["spent"] / whole, limit["held"] / whole
        level = "near" if gone / whole >= NEAR else "fine"
    told = f"{amount(limit['spent'], limit)} spent, {amount(limit['held'], limit)} held by gateways"
    label = f"{words(limit)}: {told}, {amount(limit['remaining'], limit)} left"
    return Bar(spent, held, _passed(limit, now), level, label)


def _passed(limit: Facts, now: datetime) -> float | None:
    """How much of a day or a month is over; None for windows that are too short to look at, or endless."""
    end = filters.instant(limit["resets_at"])
    if end is None or limit["window"] not in ("day", "month"):
        return None
    before = end - timedelta(days=1)
    length = timedelta(days=1 if limit["window"] == "day" else calendar.monthrange(before.year, before.month)[1])
    return min(max(1 - (end - now) / length, 0.0), 1.0)


def typed(units: int, limit: Facts) -> str:
    """Units as one types them into a field: "250.00", "1000"."""
    return money(units, None).replace("\u202f", "") if limit["measure"] == "money" else str(units)


def units(form: Form, name: str, label: str, *, is_money: bool) -> int | None:
    """What was typed, in the API's units; None where nothing was. Spaces between digits are left out. Raises Invalid.

    A comma is refused, since it would be a thousand to some and a decimal to others.
    """
    given = text(form, name)
    if given is None:
        return None
    bare = re.sub(r"[\s_\u202f']", "", given)
    if not _TYPED.fullmatch(bare) or ("." in bare and not is_money):
        how = "Write it like 12.50, with six decimals at most." if is_money else "Write a whole number like 1000."
        raise Invalid(f"{label}: '{given[:40]}' is no amount.", remedy=how, param=name)
    return int(Decimal(bare) * MICRO) if is_money else int(bare)


def instant(form: Form, name: str, label: str) -> str | None:
    """A time in UTC as a browser's field sends it, "2027-01-01T00:00", for the API; None where nothing was typed."""
    given = text(form, name)
    if given is None:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise Invalid(
            f"{label}: '{given[:40]}' is no time.", remedy="Write it like 2027-01-01T00:00, in UTC.", param=name
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
