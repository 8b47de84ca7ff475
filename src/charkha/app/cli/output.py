"""How commands speak: tables for people, JSON for programs, one line and a remedy for what went wrong."""

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec

from charkha.client.errors import ApiError, ConnectionFailed
from charkha.core.errors import CharkhaError

F = TypeVar("F", bound=Callable[..., Any])
_WHOLE = frozenset({"at", "name", "status", "created_at", "started_at", "kind", "number", "share", "state", "part"})
_PIPE_WIDTH = 240
_EXIT_BY_STATUS = {400: 2, 401: 3, 403: 3, 404: 4, 409: 5, 413: 2, 422: 2}


def json_option(command: F) -> F:
    """The option `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def page_options(command: F) -> F:
    """The options of every list."""
    limit = click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="Rows at most.")
    after = click.option("--after", help="Start after this id (the `next` of the page before).")
    return limit(after(command))


def print_json(value: Any) -> None:
    """Print a value as JSON, indented on a terminal."""
    data = msgspec.json.encode(value)
    click.echo(msgspec.json.format(data, indent=2 if sys.stdout.isatty() else 0))


def show_page(page: Any, columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print one page of a list; `empty` says what to do where there is nothing."""
    if as_json:
        print_json(page)
        return
    if not page.data:
        # A page that only a part of a long list was searched for may be empty before the end.
        click.echo(f"Nothing in this part of the list. More: --after {page.next}" if page.next else empty)
        return
    table([_fields(row) for row in page.data], columns)
    if page.next:
        click.echo(f"More: --after {page.next}")


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows as a table, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        is_whole = column.endswith("id") or column in _WHOLE
        grid.add_column(column.replace("_", " "), overflow="fold", no_wrap=is_whole)
    for row in rows:
        grid.add_row(*(cell(row.get(column)) for column in columns))
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(grid)


def _fields(row: Any) -> dict[str, Any]:
    return row if isinstance(row, dict) else msgspec.structs.asdict(row)


def details(value: Any) -> None:
    """Print one thing, a line for each field."""
    for name, content in _fields(value).items():
        if content is not None:
            click.echo(f"{name.replace('_', ' '):>22}  {cell(content)}")


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dict | list | msgspec.Struct):
        return msgspec.json.encode(value).decode()
    return str(value)


def explain(error: Exception) -> int | None:
    """Print an error that is ours with its remedy and return the exit status; None if it is nobody's."""
    if isinstance(error, CharkhaError):
        return _complain(error.message, error.remedy, error.exit_code)
    if isinstance(error, ApiError):
        return _complain(error.message, "", _EXIT_BY_STATUS.get(error.status, 1 if error.status < 500 else 6))
    if isinstance(error, ConnectionFailed):
        return _complain(str(error), "Start it with `charkha up`, or set CHARKHA_URL.", 6)
    return None


def _complain(message: str, remedy: str, status: int) -> int:
    click.secho("Error: ", fg="red", nl=False, err=True)
    click.echo(f"{message} {remedy}".strip(), err=True)
    return status
