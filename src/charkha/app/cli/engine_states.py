"""Commands on engines as they are now: how gateways find them, out of service and back."""

import click

from charkha.app.cli.connection import connect
from charkha.app.cli.lists import shown
from charkha.app.cli.output import json_option, print_json, table
from charkha.client.engines import EngineState

_COLUMNS = ["engine", "drained", "host", "pid", "breaker", "pending", "first_byte_ms"]


@click.command()
@json_option
def states(as_json: bool) -> None:
    """How each gateway process finds each engine: its breaker, requests in flight, time to the first byte."""
    with connect() as client:
        found = [client.engines.state(name) for name in sorted(client.status()["engines"])]
    if as_json:
        print_json(found)
    else:
        table([row for each in found for row in _rows(each)], _COLUMNS)


@click.command()
@click.argument("name")
@json_option
def state(name: str, as_json: bool) -> None:
    """How each gateway process finds an engine, and whether it is drained."""
    with connect() as client:
        found = client.engines.state(name)
    if as_json:
        print_json(found)
    else:
        table(_rows(found), _COLUMNS)


@click.command()
@click.argument("name")
@json_option
def drain(name: str, as_json: bool) -> None:
    """Send an engine no new requests; those that it is answering end."""
    with connect() as client:
        shown(client.engines.drain(name), as_json)


@click.command()
@click.argument("name")
@json_option
def resume(name: str, as_json: bool) -> None:
    """Let an engine serve again."""
    with connect() as client:
        shown(client.engines.resume(name), as_json)


def _rows(engine: EngineState) -> list[dict[str, object]]:
    """A row for each gateway process."""
    return [
        {
            "engine": engine.name,
            "drained": engine.drained,
            "host": each.host,
            "pid": each.pid,
            "breaker": each.breaker,
            "pending": each.pending,
            "first_byte_ms": each.first_byte_ms,
        }
        for each in engine.gateways
    ]


def add_states(group: click.Group) -> None:
    """Add the commands of this module to the group `engines`."""
    for command in (states, state, drain, resume):
        group.add_command(command)
