"""The two commands that every kind of thing has, made once: `list` (a page of a table) and `show` (one, by id)."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from charkha.app.cli.connection import connect
from charkha.app.cli.output import details, json_option, page_options, print_json, show_page
from charkha.client import Charkha

_HELP = {
    "since": "Not before this instant (ISO 8601 with its offset, or Z).",
    "until": "Before this instant.",
    "failed": "Only what the answering side failed at, or only the rest.",
    "min_duration_ms": "Only what took so many milliseconds, or more.",
    "q": "Only what has this text: requests and answers anywhere, names at their beginning.",
}


def workspace_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--workspace`."""
    return click.option("--workspace", help="Another workspace of your organisation.")(command)


def add_list(
    group: click.Group, fetch: Callable[..., Any], columns: Sequence[str], *, empty: str, filters: Sequence[str] = ()
) -> None:
    """Add `list` to a group: `fetch(client, after=, limit=, **filters)` gives a page; each filter is an option.

    People name endpoints: for a filter `endpoint_id` the option is `--endpoint`, a name or an id.
    """

    by_endpoint = "endpoint_id" in filters

    @json_option
    @page_options
    @workspace_option
    def listing(workspace: str | None, after: str | None, limit: int, as_json: bool, **chosen: Any) -> None:
        with connect(workspace) as client:
            if by_endpoint and (named := chosen.pop("endpoint")) is not None:
                chosen["endpoint_id"] = client.endpoints.get(named).id
            page = fetch(client, after=after, limit=limit, **chosen)
        show_page(page, columns, as_json=as_json, empty=empty)

    command = group.command("list", help="A page of the list, newest first.")(listing)
    command.params += [option("endpoint" if each == "endpoint_id" else each) for each in filters]


def option(name: str) -> click.Option:
    """The option by which a list is narrowed."""
    dashed = name.replace("_", "-")
    if name == "failed":
        return click.Option([f"--{dashed}/--not-{dashed}"], default=None, help=_HELP[name])
    declared = ["--search", "q"] if name == "q" else [f"--{dashed}"]
    return click.Option(declared, help=_HELP.get(name, f"Only this {name.replace('_', ' ')}."))


def add_show(group: click.Group, fetch: Callable[[Charkha, str], Any], argument: str = "ID") -> None:
    """Add `show` to a group: `fetch(client, id)` gives one thing."""

    @group.command("show", help="One of them, whole.")
    @click.argument("which", metavar=argument)
    @workspace_option
    @json_option
    def show(which: str, workspace: str | None, as_json: bool) -> None:
        with connect(workspace) as client:
            found = fetch(client, which)
        if as_json:
            print_json(found)
        else:
            details(found)


def shown(value: Any, as_json: bool) -> None:
    """Print the result of a command that changed something."""
    if as_json:
        print_json(value)
    else:
        details(value)


def assigned(text: str) -> tuple[str, str]:
    """NAME=VALUE as a pair. Raises click's UsageError."""
    name, separator, value = text.partition("=")
    if not separator:
        raise click.UsageError(f"'{text}' is not NAME=VALUE, such as who=Ada.")
    return name, value
