"""The picture of the result: throughput as bars, added latency by rate as lines; SVG written by hand, light and dark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "results" / "gateway.svg"
WIDTH, HEIGHT = 760, 300
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-weight: 600 } .bar { fill: #b8bfc9 }
.ours { fill: #2f6f4f } .line { fill: none; stroke: #2f6f4f; stroke-width: 2 } .thin { stroke-dasharray: 4 3 }
.axis { fill: none; stroke: #999; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
text { fill: #ddd } .bar { fill: #5b6470 } .ours { fill: #5fbf8f } .line { stroke: #5fbf8f } }
"""


def write(figures: Mapping[str, Any]) -> None:
    """Write the picture of a result."""
    FILE.write_text(drawn(figures))
    print(f"{FILE.name} shows it.")


def drawn(figures: Mapping[str, Any]) -> str:
    """The picture: on the left who does how much, on the right what is added at which rate."""
    parts = [*_bars(figures), *_curves(figures)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    title = "<title>Throughput of the gateway, the floor and the peers; latency that the gateway adds</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _bars(figures: Mapping[str, Any]) -> list[str]:
    rows = [
        (label, figures[key], kind)
        for label, key, kind in (
            ("bare floor", "floor_requests_per_second_64", "bar"),
            ("Charkha", "requests_per_second_64", "ours"),
            ("Portkey", "portkey_requests_per_second_64", "bar"),
            ("LiteLLM", "litellm_requests_per_second_64", "bar"),
        )
        if key in figures
    ]
    most = max(value for _, value, _ in rows)
    drawn = [_text(20, 24, "Requests a second, 64 connections, one core", "title")]
    for place, (label, value, kind) in enumerate(rows):
        top, length = 50 + place * 54, max(1, 210 * value / most)
        drawn.append(_text(20, top + 20, label))
        drawn.append(f'<rect class="{kind}" x="84" y="{top}" width="{length:.0f}" height="30" rx="2"/>')
        drawn.append(_text(round(90 + length), top + 20, f"{value:,.0f}"))
    return drawn


def _curves(figures: Mapping[str, Any]) -> list[str]:
    rates = sorted(int(name.split("_")[1]) for name in figures if name.startswith("open_") and "p50" in name)
    if not rates:
        return []
    left, right, bottom, top = 440, 730, 260, 50
    drawn = [_text(left - 20, 24, "Added latency, ms, by requests a second", "title")]
    highest = max(1.0, *(figures[f"open_{rate}_added_p99_ms"] for rate in rates))
    drawn.append(f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>')
    for share, kind in (("p50", "line"), ("p99", "line thin")):
        values = [figures[f"open_{rate}_added_{share}_ms"] for rate in rates]
        points = [
            (left + (right - left) * rate / rates[-1], bottom - (bottom - top) * max(0, value) / highest)
            for rate, value in zip(rates, values, strict=True)
        ]
        drawn.append(f'<polyline class="{kind}" points="{_points(points)}"/>')
        drawn.append(_text(round(points[-1][0]) - 24, round(points[-1][1]) - 6, share))
    drawn += [_text(round(left + (right - left) * rate / rates[-1]) - 12, bottom + 18, f"{rate:,}") for rate in rates]
    drawn += [_text(left - 34, top + 4, f"{highest:.1f}"), _text(left - 20, bottom + 4, "0")]
    return drawn


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.0f},{y:.0f}" for x, y in points)


def _text(x: int, y: int, words: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{words}</text>'
