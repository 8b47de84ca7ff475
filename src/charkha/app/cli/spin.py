"""`charkha spin`: one turn of the wheel on real data, or on anybody's file."""

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from charkha.app import settings
from charkha.app.cli.connection import address, api_key
from charkha.app.cli.output import print_json
from charkha.app.spin.domain import portions
from charkha.app.spin.screen import Screen
from charkha.app.spin.turn import Outcome, Turn
from charkha.client import AsyncCharkha
from charkha.core.errors import Unavailable
from charkha.data.connectors.choice import choose
from charkha.data.connectors.source import Source

_MARK = "run/turned"


@click.command()
@click.option("--dataset", type=click.Path(path_type=Path), help='JSON lines: {"input","label"} or {"messages"}.')
@click.option("--endpoint", help="Name of the endpoint to make. Default: after the data.")
@click.option("--workspace", help="Another workspace of your organisation.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 86_400),
    help="Time that training may take. Default: what keeps the turn near eight minutes.",
)
@click.option("--once", is_flag=True, help="Do nothing where the wheel was turned before.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to stderr.")
def spin(
    dataset: Path | None,
    endpoint: str | None,
    workspace: str | None,
    seconds: float | None,
    once: bool,
    as_json: bool,
) -> int:
    """Turn the wheel once. Exit status 0 if and only if a better version is live at the end."""
    mark = settings.default_home() / _MARK
    if once and mark.exists():
        click.echo(f"The wheel was turned before ({mark.read_text().strip()}). Turn it again: charkha spin")
        return 0
    with Screen(quiet=as_json) as screen:
        source = _read(dataset, screen)
        config = {} if seconds is None else {"max_seconds": seconds}
        outcome = asyncio.run(_turn(source, screen, endpoint, workspace, config))
    if outcome.live:
        mark.write_text(f"endpoint {outcome.endpoint}, version {outcome.version}")
    if as_json:
        print_json(msgspec.to_builtins(outcome))
    elif outcome.live:
        click.echo(f"\nRoll it back with: charkha rollback {outcome.endpoint}")
        click.echo(f"Let new feedback turn it again: charkha policies set {outcome.endpoint} --minimum-examples 200")
    return 0 if outcome.live else 1


def _read(dataset: Path | None, screen: Screen) -> Source:
    with screen.stage("Data") as bar:
        source = choose(dataset, progress=lambda share, note: bar.at(share, 1.0, note))
    screen.done("Data", source.title)
    for note in source.notes:
        screen.say(f"        {note}", style="dim")
    return source


async def _turn(
    source: Source, screen: Screen, endpoint: str | None, workspace: str | None, config: dict[str, Any]
) -> Outcome:
    parts = portions(source)
    screen.say(
        f"        {len(parts.train)} to learn from, {len(parts.held_out)} held out, {len(parts.live)} for live traffic; no text"
        " is in two of them.",
        style="dim",
    )
    async with AsyncCharkha(address(), api_key(), workspace=workspace) as client:
        try:
            return await Turn(client, source, parts, screen).run(endpoint, config)
        except asyncio.CancelledError:
            raise Unavailable(
                "The turn was stopped; what the loop began goes on.", remedy="See `charkha runs list`."
            ) from None
