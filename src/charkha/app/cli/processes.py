"""Commands that start and stop everything, and tell what runs."""

import sys

import click

from charkha.app import settings
from charkha.app.cli.output import json_option, print_json, table
from charkha.app.supervisor_state import State, detach, read_state, shut_down


@click.command()
@click.option("--detach", "detached", is_flag=True, help="Return when everything is ready; `charkha down` stops it.")
@click.option("--turn", is_flag=True, help="Then turn the wheel once, unless it was turned before.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@json_option
def up(detached: bool, turn: bool, port: int | None, as_json: bool) -> int:
    """Start everything: PostgreSQL, engines, gateway, worker. Ctrl-C stops it."""
    from charkha.app import up as starter
    from charkha.kit.postgres.cluster import make_home

    configured = settings.load(port=port)
    if not detached:
        return starter.run(configured, turn=turn)
    make_home(configured.home)
    argv = [sys.executable, "-m", "charkha.app.up", *(["--port", str(port)] if port is not None else [])]
    state = detach(argv, configured.home / "log" / "charkha.log", configured.home, on_change=None if as_json else _tell)
    if as_json:
        print_json(state)
    else:
        starter.welcome(configured, state)
    return starter.turn_once(configured) if turn else 0


@click.command()
def down() -> None:
    """Stop what `up` started."""
    home = settings.load().home
    click.echo("Stopped." if shut_down(home) else f"Nothing runs in {home}.")


@click.command()
@json_option
def status(as_json: bool) -> int:
    """What runs, and which version each gateway serves. Exit status 0 if all parts are up, else 6."""
    home = settings.load().home
    state = read_state(home)
    if state is None:
        if as_json:
            print_json({"running": False, "home": str(home)})
        else:
            click.echo(f"Nothing runs in {home}. Start it with: charkha up")
        return 6
    service = _service() if state.ready else None
    if as_json:
        print_json({"running": True, "home": str(home), **_parts(state), "service": service})
    else:
        _show(state, service)
    return 0 if state.ready and all(part.state in ("ready", "done") for part in state.parts) else 6


def _service() -> dict[str, object]:
    from charkha.app.cli.connection import connect

    with connect() as client:
        return client.status()


def _parts(state: State) -> dict[str, object]:
    import msgspec

    told: dict[str, object] = msgspec.to_builtins(state)
    return told


def _show(state: State, service: dict[str, object] | None) -> None:
    click.echo(f"{'Ready' if state.ready else 'Starting'} at {state.url} (process {state.pid})\n")
    rows = [
        {
            "part": part.name,
            "state": part.state,
            "pid": part.pid,
            "restarts": part.restarts,
            "last_exit": part.last_exit,
        }
        for part in state.parts
    ]
    table(rows, ["part", "state", "pid", "restarts", "last_exit"])
    if service:
        gateways = service["gateways"]
        assert isinstance(gateways, list)
        click.echo(f"\nServing version {service['snapshot']} on {len(gateways)} gateway processes.")


def _tell(state: State) -> None:
    """One line for each part that comes up."""
    up_now = [part.name for part in state.parts if part.state in ("ready", "done")]
    click.echo(f"\r  {len(up_now)}/{len(state.parts)} parts are up", nl=state.ready, err=True)
