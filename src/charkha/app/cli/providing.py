"""Commands on engines. A provider's key is read from stdin or a variable: what stands in a command can be read by others."""

import os
import sys
from typing import Any

import click
import msgspec

from charkha.app.cli.connection import connect
from charkha.app.cli.engine_states import add_states
from charkha.app.cli.lists import add_show, shown
from charkha.app.cli.output import cell, json_option, page_options, print_json, table

_NOT_READY = 1


@click.group()
def engines() -> None:
    """Where answers come from: engines of the settings, and those added here."""


@engines.command("list")
@page_options
@json_option
def list_engines(after: str | None, limit: int, as_json: bool) -> None:
    """Engines: those of the settings, then those added here, newest first."""
    with connect() as client:
        page = client.engines.list(after=after, limit=limit)
    if as_json:
        print_json(page)
        return
    rows = [{**msgspec.structs.asdict(each), "models": ", ".join(each.models), "key": _key(each)} for each in page.data]
    table(rows, ["name", "source", "plugin", "url", "models", "key", "problem"])
    if page.next:
        click.echo(f"More: --after {page.next}")


add_show(engines, lambda client, name: client.engines.get(name), "NAME")
add_states(engines)


def _options(command: Any) -> Any:
    """The options that describe an engine."""
    command = click.option("--url", help="Its address, up to and with the API's version (…/v1).")(command)
    command = click.option(
        "--model", "models", multiple=True, help="OURS or OURS=THEIRS: a name that applications may call."
    )(command)
    command = click.option(
        "--length",
        type=click.Choice(["max_tokens", "max_completion_tokens"]),
        help="OpenAI-compatible: the one name by which the service knows an answer's greatest length.",
    )(command)
    return click.option("--max-tokens", type=int, help="Anthropic: an answer's length where a request names none.")(
        command
    )


@engines.command("add")
@click.argument("name")
@click.option("--plugin", type=click.Choice(["openai", "anthropic"]), default="openai", show_default=True)
@_options
@click.option("--key", "keyed", is_flag=True, help="Read the provider's key from stdin.")
@click.option("--from-env", "variable", help="Take the provider's key from this variable.")
@json_option
def add_engine(name: str, plugin: str, keyed: bool, variable: str | None, as_json: bool, **described: Any) -> None:
    """Add an engine; every gateway can ask it when this returns."""
    key = _read_key(variable) if keyed or variable else None
    with connect() as client:
        added = client.engines.add(name, plugin=plugin, options=_described(**described), key=key)
    shown(added, as_json)


@engines.command("set")
@click.argument("name")
@_options
@json_option
def set_engine(name: str, as_json: bool, **described: Any) -> None:
    """Change an engine. Another --url erases its key; --model takes the place of all its models."""
    options = _described(**described)
    if not options:
        raise click.UsageError("Name what is to change: --url, --model, --length or --max-tokens.")
    with connect() as client:
        changed = client.engines.change(name, options)
    shown(changed, as_json)


@engines.command("key")
@click.argument("name")
@click.option("--from-env", "variable", help="Take the key from this variable; else it is read from stdin.")
@json_option
def set_key(name: str, variable: str | None, as_json: bool) -> None:
    """Set the key that the provider is shown. It is sealed, and never shown again."""
    key = _read_key(variable)
    with connect() as client:
        changed = client.engines.set_key(name, key)
    shown(changed, as_json)


@engines.command("check")
@click.argument("name")
@json_option
def check_engine(name: str, as_json: bool) -> None:
    """Ask an engine how it is. 0 if it is ready, else 1."""
    with connect() as client:
        found = client.engines.check(name)
    if as_json:
        print_json(found)
    else:
        click.echo(f"{'ready' if found.ready else 'not ready'}: {found.detail} ({cell(found.milliseconds)} ms)")
    sys.exit(0 if found.ready else _NOT_READY)


@engines.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def remove_engine(name: str, yes: bool, as_json: bool) -> None:
    """Remove an engine and its key; refused while a live plan sends traffic to it."""
    if not yes:
        click.confirm(f"Remove the engine {name} and its key?", abort=True)
    with connect() as client:
        answer = client.engines.remove(name)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Removed. {len(answer['gateways'])} gateway processes know it.")


def _described(url: str | None, models: tuple[str, ...], length: str | None, max_tokens: int | None) -> dict[str, Any]:
    """The plugin's options out of what was typed; what was not typed is left out."""
    named = dict(each.partition("=")[::2] for each in models)
    given = {
        "url": url,
        "models": {ours: theirs or ours for ours, theirs in named.items()} or None,
        "length": length,
        "max_tokens": max_tokens,
    }
    return {name: value for name, value in given.items() if value is not None}


def _read_key(variable: str | None) -> str:
    if variable is not None:
        if not (key := os.environ.get(variable)):
            raise click.UsageError(f"The variable {variable} is not set.")
        return key
    if sys.stdin.isatty():
        return str(click.prompt("Key", hide_input=True))
    return sys.stdin.readline().strip()


def _key(engine: Any) -> str:
    return f"…{engine.key_ends}" if engine.key_ends else "–"
