"""How values are written on pages: numbers, times, sizes, and text that nobody vouches for. Pure.

Escaping is Jinja's, always on. What models and users wrote goes through `foreign` besides: it is kept from changing
the direction or the look of what surrounds it, and is cut where nobody would read on.
"""

import math
import re
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

LONGEST = 4000
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
NONE = "–"


def number(value: float | None, digits: int = 0) -> str:
    """1234567 → "1 234 567" with thin spaces; None → a dash."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def compact(value: float | None) -> str:
    """1234567 → "1.2 M": for places where the exact number would not be read."""
    if value is None or not math.isfinite(value):
        return NONE
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if suffix == 'k' else limit):.1f}\u202f{suffix}"
    return number(value, 0 if float(value).is_integer() else 1)


def percent(value: float | None, digits: int = 1) -> str:
    """0.934 → "93.4 %"."""
    return NONE if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}\u202f%"


def points(value: float | None) -> str:
    """0.82 → "+82.0 points": a difference of two percentages."""
    return NONE if value is None or not math.isfinite(value) else f"{100 * value:+.1f}\u202fpoints"


def milliseconds(value: float | None) -> str:
    """Milliseconds as a person reads them: "8.2 ms", "412 ms", "3.4 s", "2:05 min"."""
    if value is None or not math.isfinite(value):
        return NONE
    if value < 10:
        return f"{value:.1f}\u202fms"
    return f"{value:.0f}\u202fms" if value < 1000 else seconds(value / 1000)


def seconds(value: float | None) -> str:
    """Seconds as a person reads them: "3.4 s", "2:05 min", "1:10 h"."""
    if value is None or not math.isfinite(value):
        return NONE
    if value < 60:
        return f"{value:.1f}\u202fs" if value < 10 else f"{value:.0f}\u202fs"
    minutes = int(value) // 60
    if minutes < 60:
        return f"{minutes}:{int(value) % 60:02d}\u202fmin"
    return f"{minutes // 60}:{minutes % 60:02d}\u202fh"


def size(value: float | None) -> str:
    """Bytes as a person reads them: "98 MB" (powers of ten)."""
    if value is None or not math.isfinite(value):
        return NONE
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{value / limit:.1f}\u202f{unit}"
    return f"{value:.0f}\u202fB"


def instant(value: str | datetime | None) -> datetime | None:
    """An instant as the API tells it."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value)


def when(value: str | datetime | None) -> Markup:
    """A time element in UTC; the page's script rewrites it for the visitor's zone and adds how long ago it is."""
    at = instant(value)
    if at is None:
        return escape(NONE)
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S"))


def elapsed(begin: str | None, end: str | None) -> float | None:
    """Seconds between two instants, where both are known."""
    first, last = instant(begin), instant(end)
    return (last - first).total_seconds() if first and last else None


def foreign(text: Any, longest: int = LONGEST) -> Markup:
    """Text of a model or a user: escaped, isolated in its own direction, its invisible characters made visible, cut.

    A newline and a tab stay; any other control, direction mark, zero-width or tag character is shown as its code.
    """
    whole = text if isinstance(text, str) else str(text)
    shown = _visible(whole[:longest])
    rest = Markup('<span class="cut"> … {} more characters</span>').format(number(len(whole) - longest))
    return Markup('<bdi class="foreign" dir="auto">{}</bdi>{}').format(shown, rest if len(whole) > longest else "")


def one_line(text: Any, longest: int = 160) -> Markup:
    """The beginning of a foreign text on one line, for lists."""
    whole = text if isinstance(text, str) else str(text)
    line = " ".join(whole[: 4 * longest].split())
    return Markup('<bdi class="foreign" dir="auto">{}{}</bdi>').format(
        _visible(line[:longest]), "…" if len(line) > longest or len(whole) > 4 * longest else ""
    )


def plain(text: Any, longest: int = 300) -> str:
    """Foreign text where there can be no markup, as in labels and titles: its invisible characters as codes, cut."""
    whole = str(text)
    shown = _INVISIBLE.sub(lambda found: f"U+{ord(found[0]):04X}", whole[:longest])
    return shown + ("…" if len(whole) > longest else "")


def _visible(text: str) -> Markup:
    parts, last = [], 0
    for found in _INVISIBLE.finditer(text):
        parts += [
            escape(text[last : found.start()]),
            Markup('<span class="invisible">U+{:04X}</span>').format(ord(found[0])),
        ]
        last = found.end()
    return Markup("").join([*parts, escape(text[last:])])


def short(identifier: Any) -> str:
    """The end of an id, which is where UUIDv7 ids differ."""
    return str(identifier)[-8:] if identifier else NONE


FILTERS = {
    "number": number,
    "compact": compact,
    "percent": percent,
    "points": points,
    "ms": milliseconds,
    "seconds": seconds,
    "size": size,
    "when": when,
    "foreign": foreign,
    "one_line": one_line,
    "plain": plain,
    "short": short,
}
