"""What a turn looks like in a terminal: a line for each stage, a bar while it runs, a table at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line of the table at the end."""

    what: str
    before: str
    after: str


class Bar:
    """One running stage."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def at(self, done: float, total: float | None, note: str = "") -> None:
        """Move the bar and say something beside it."""
        self._progress.update(self._task, completed=done, total=total, note=note)


class Screen:
    """Stages as they happen. On a pipe each stage is one line; with `quiet` they go to stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=quiet, highlight=False)
        self._began = time.monotonic()

    def __enter__(self) -> "Screen":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.console.show_cursor(True)

    def say(self, text: str, *, style: str = "") -> None:
        """One line."""
        self.console.print(text, style=style or None, soft_wrap=True)

    def done(self, stage: str, result: str) -> None:
        """A stage has ended, with its result."""
        self._line("[green]✓[/green]", stage, result)

    def failed(self, stage: str, reason: str) -> None:
        """A stage has ended badly."""
        self._line("[red]✗[/red]", stage, reason)

    def _line(self, mark: str, stage: str, told: str) -> None:
        at = duration(time.monotonic() - self._began)
        self.console.print(f"{mark} [dim]{at:>5}[/dim] [bold]{stage:<23}[/bold] {told}", soft_wrap=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[Bar]:
        """A stage that runs: a bar that goes away when it has ended."""
        columns = (
            TextColumn("[cyan]…[/cyan]       [bold]{task.description:<23}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield Bar(progress, progress.add_task(name, total=None, note=""))

    def table(self, title: str, rows: list[Row]) -> None:
        """Before and after."""
        grid = Table(title=title, title_justify="left", title_style="bold")
        grid.add_column("")
        grid.add_column("before", justify="right")
        grid.add_column("after", justify="right", style="bold green")
        for row in rows:
            grid.add_row(row.what, row.before, row.after)
        self.console.print(grid)


def rows(before: dict[str, Any], after: dict[str, Any], *, graded: bool) -> list[Row]:
    """The table's lines from the scorecards of the base and of the candidate."""
    headline = "held-out likelihood score" if graded else "held-out accuracy"
    both = (before, after)
    told = {
        headline: [percent(card["candidate"]["value"]) for card in both],
        "as it answers by itself": [percent(card["greedy"]["candidate"]) for card in both],
        "held-out examples": [str(card["n"]) for card in both],
    }
    return [Row(what, *values) for what, values in told.items()]


def percent(value: float) -> str:
    """A share as people read it."""
    return f"{100 * value:.1f} %"


def duration(seconds: float | None) -> str:
    """A time as people read it: 3:20."""
    if seconds is None:
        return "–"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def points(scorecard: dict[str, Any]) -> str:
    """The difference of a scorecard with its interval, in points."""
    low, high = interval(scorecard)
    return f"{100 * scorecard['difference']:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"


def interval(scorecard: dict[str, Any]) -> tuple[float, float]:
    """The interval of the difference."""
    bounds = scorecard["interval"]
    return (bounds["low"], bounds["high"]) if isinstance(bounds, dict) else (bounds[0], bounds[1])
