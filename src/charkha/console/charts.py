"""Small pictures as SVG, drawn on the server: sparklines, intervals, shares of traffic. Pure.

They need no script, follow the page's colours, print, and say in words what they show. Curves that people look into
are uPlot's (`static/chart.js`).
"""

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

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


def bars(values: Sequence[float], label: str, *, width: int = 240, height: int = 48) -> Markup:
    """Columns from zero, evenly spaced."""
    if not values:
        return Markup('<span class="muted">–</span>')
    top, step = max(*values, 0) or 1, width / len(values)
    drawn = Markup("").join(
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1"/>').format(
            index * step + 0.5, height - height * value / top, max(step - 1, 0.5), height * value / top
        )
        for index, value in enumerate(values)
    )
    return _svg(drawn, label, width, height, "bars")


def interval(low: float, value: float, high: float, *, bounds: Pair, label: str, zero: bool = True) -> Markup:
    """An estimate with its interval on a scale from bounds[0] to bounds[1], with a mark at zero."""
    width, height = 220, 22
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


def shares(parts: Sequence[tuple[str, float]], label: str) -> Markup:
    """Percentages of one whole, side by side. `parts`: a name and its percent, in order."""
    width, height, at, drawn = 240, 12, 0.0, []
    for index, (name, share) in enumerate(parts):
        drawn.append(
            Markup(
                '<rect class="part-{}" x="{:.2f}" y="0" width="{:.2f}" height="{}"><title>{} {:g} %</title></rect>'
            ).format(index % 6, at, max(share / 100 * width - 1, 0), height, name, share)
        )
        at += share / 100 * width
    return _svg(Markup("").join(drawn), label, width, height, "shares", stretch=True)


def _svg(inside: Markup, label: str, width: int, height: int, kind: str, *, stretch: bool = False) -> Markup:
    fit = Markup(' preserveAspectRatio="none"') if stretch else ""
    return Markup(
        '<svg class="chart {}" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}"{}>{}</svg>'
    ).format(kind, label, width, height, width, height, fit, inside)
