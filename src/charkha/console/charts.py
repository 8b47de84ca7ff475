"""Small pictures as SVG, drawn on the server: sparklines, intervals, shares of traffic. Pure.

They need no script, follow the page's colours, print, and say in words what they show. Curves that people look into
are uPlot's (`static/chart.js`).
"""

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from charkha.console.filters import plain

Pair = tuple[float, float]
_WIDTH, _HEIGHT = 120, 28


def sparkline(values: Sequence[float | None], label: str, *, width: int = _WIDTH, height: int = _HEIGHT) -> Markup:
    """A line through `values`, evenly spaced; None leaves a gap. `label` says in words what it shows."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup('<span class="muted">–</span>')
    low, high = min(known), max(known)
    step, span = (width - 4) / (len(values) - 1), (high - low) or 1
    spots = [
        None if value is None else (2 + index * step, height - 3 - (height - 6) * (value - low) / span)
        for index, value in enumerate(values)
    ]
    return _svg(Markup('<path class="line" d="{}"/>').format(_path(spots)), label, width, height, "sparkline")


def _path(spots: Sequence[Pair | None]) -> str:
    """SVG path commands through the spots; a gap begins a new piece."""
    drawn = []
    for before, spot in pairwise([None, *spots]):
        if spot is not None:
            drawn.append(f"{'M' if before is None else 'L'}{spot[0]:.1f},{spot[1]:.1f}")
    return "".join(drawn)


def bars(
    values: Sequence[float], label: str, *, width: int = 240, height: int = 48, names: Sequence[str] = ()
) -> Markup:
    """Columns from zero, evenly spaced. With `names`, as wide as there is room, each named where one points at it."""
    if not values:
        return Markup('<span class="muted">–</span>')
    top, step = max(*values, 0) or 1, width / len(values)
    drawn = Markup("").join(
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1"/>').format(
            index * step + 0.5, height - height * value / top, max(step - 1, 0.5), height * value / top
        )
        for index, value in enumerate(values)
    )
    spots = Markup("").join(
        Markup('<rect class="spot" x="{:.1f}" y="0" width="{:.1f}" height="{}"><title>{}</title></rect>').format(
            index * step, step, height, plain(name)
        )
        for index, name in enumerate(names)
    )
    return _svg(drawn + spots, label, width, height, "bars wide" if names else "bars", stretch=bool(names))


def interval(
    low: float, value: float, high: float, *, bounds: Pair, label: str, zero: bool = True, width: int = 220
) -> Markup:
    """An estimate with its interval on a scale from bounds[0] to bounds[1], with a mark at zero."""
    height = 22
    begin, end = bounds
    span = (end - begin) or 1

    def x(at: float) -> float:
        return 4 + (width - 8) * (min(max(at, begin), end) - begin) / span

    side = "better" if low > 0 else "worse" if high < 0 else "unsure"
    parts = [
        Markup('<line class="axis" x1="4" x2="{}" y1="11" y2="11"/>').format(width - 4),
        Markup('<line class="whisker {}" x1="{:.1f}" x2="{:.1f}" y1="11" y2="11"/>').format(side, x(low), x(high)),
        Markup('<circle class="estimate {}" cx="{:.1f}" cy="11" r="5"/>').format(side, x(value)),
    ]
    if zero and begin <= 0 <= end:
        parts.insert(1, Markup('<line class="zero" x1="{0:.1f}" x2="{0:.1f}" y1="3" y2="19"/>').format(x(0)))
    return _svg(Markup("").join(parts), label, width, height, "interval")


def rate(low: float, value: float, high: float, label: str, *, kind: str = "candidate") -> Markup:
    """A rate with its interval on a scale from 0 to 1, quarters marked; several, one below another, compare.

    `kind`: candidate or incumbent.
    """
    width, height = 320, 22
    parts = [Markup('<line class="axis" x1="6" x2="{}" y1="11" y2="11"/>').format(width - 6)]
    parts += [
        Markup('<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="6" y2="16"/>').format(_along(quarter / 4, width))
        for quarter in range(5)
    ]
    ends = (_along(low, width), _along(high, width))
    parts.append(Markup('<line class="whisker {}" x1="{:.1f}" x2="{:.1f}" y1="11" y2="11"/>').format(kind, *ends))
    parts.append(Markup('<circle class="estimate {}" cx="{:.1f}" cy="11" r="5"/>').format(kind, _along(value, width)))
    return _svg(Markup("").join(parts), label, width, height, "interval rate")


def shift(before: float, after: float, label: str) -> Markup:
    """From one rate to another on a scale from 0 to 1: a line that ends in a dot, green to the right, red to the left."""
    width, height = 120, 14
    side = "better" if after > before else "worse" if after < before else "unsure"
    begin, end = _along(before, width), _along(after, width)
    parts = (
        Markup('<line class="axis" x1="6" x2="{}" y1="7" y2="7"/>').format(width - 6),
        Markup('<line class="whisker {}" x1="{:.1f}" x2="{:.1f}" y1="7" y2="7"/>').format(side, begin, end),
        Markup('<circle class="origin" cx="{:.1f}" cy="7" r="3.5"/>').format(begin),
        Markup('<circle class="estimate {}" cx="{:.1f}" cy="7" r="4"/>').format(side, end),
    )
    return _svg(Markup("").join(parts), label, width, height, "interval shift")


def _along(value: float, width: int) -> float:
    """Where a value from 0 to 1 lies on a picture."""
    return 6 + (width - 12) * min(max(value, 0.0), 1.0)


def shares(parts: Sequence[tuple[str, float]], label: str, colours: Sequence[int] = ()) -> Markup:
    """Percentages of one whole, side by side. `parts`: a name and its percent, in order.

    `colours` are the numbers of their colours, for what keeps its own on a page; else they are numbered by their place.
    """
    width, height, at, drawn = 240, 12, 0.0, []
    for index, (name, share) in zip(colours or range(len(parts)), parts, strict=True):
        drawn.append(
            Markup(
                '<rect class="part-{}" x="{:.2f}" y="0" width="{:.2f}" height="{}"><title>{} {:g} %</title></rect>'
            ).format(
                index % 6,
                at,
                max(share / 100 * width - (at + share / 100 * width < width), 0),
                height,
                plain(name),
                share,
            )
        )
        at += share / 100 * width
    return _svg(Markup("").join(drawn), label, width, height, "shares", stretch=True)


def share(part: float, label: str) -> Markup:
    """One lying bar as long as a part, 0 to 1, of the width that there is."""
    drawn = Markup('<rect class="part-0" width="{:.2f}" height="10"/>').format(max(100 * part, 0.5))
    return Markup(
        '<svg class="chart share" role="img" aria-label="{}" viewBox="0 0 100 10" preserveAspectRatio="none">{}</svg>'
    ).format(plain(label), drawn)


def meter(spent: float, held: float, passed: float | None, level: str, label: str) -> Markup:
    """How full something is: what is spent of it, and what is held beyond that, both 0 to 1 of its length.

    `passed`, 0 to 1, marks how much of its time is over. `level`: full, near or fine.
    """
    parts = [Markup('<rect class="track" width="200" height="10" rx="2"/>')]
    for kind, begin, length in (("spent", 0.0, spent), ("held", spent, held)):
        if length > 0:
            shown = min(max(200 * length, 0.8), 200 - 200 * min(begin, 1))
            parts.append(
                Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="10"/>').format(kind, 200 * begin, shown)
            )
    if passed is not None:
        parts.append(Markup('<rect class="passed" x="{:.2f}" width="1" height="10"/>').format(199 * passed))
    return Markup(
        '<svg class="chart meter {}" role="img" aria-label="{}" viewBox="0 0 200 10" preserveAspectRatio="none">{}</svg>'
    ).format(level, plain(label), Markup("").join(parts))


def _svg(inside: Markup, label: str, width: int, height: int, kind: str, *, stretch: bool = False) -> Markup:
    fit = Markup(' preserveAspectRatio="none"') if stretch else ""
    return Markup(
        '<svg class="chart {}" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}"{}>{}</svg>'
    ).format(kind, plain(label), width, height, width, height, fit, inside)
