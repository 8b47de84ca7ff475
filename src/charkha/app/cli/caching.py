"""Commands on caches: which answers are given again, what that saved, and forgetting them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import click
import msgspec

from charkha.app.cli.connection import connect
from charkha.app.cli.lists import shown, workspace_option
from charkha.app.cli.output import json_option, page_options, print_json, table

_MICRO = 1_000_000
_DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def caches() -> None:
    """Answers that endpoints give again."""


@caches.command("list")
@click.option("--since", type=_DAY, help="First day (UTC); 30 days before the last, if absent.")
@click.option("--until", type=_DAY, help="Last day.")
@workspace_option
@page_options
@json_option
def list_caches(
    since: datetime | None,
    until: datetime | None,
    workspace: str | None,
    after: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Endpoints with their caches, how often these had an answer, and what that saved."""
    days = {"since": since.date() if since else None, "until": until.date() if until else None}
    with connect(workspace) as client:
        page = client.caches.list(**days, after=after, limit=limit)
    if as_json:
        print_json(page)
        return
    if not page.data:
        click.echo("No endpoints. Make one: charkha endpoints create NAME")
        return
    table([_row(each) for each in page.data], ["endpoint", "seconds", "semantic", "hits", "misses", "rate", "saved"])
    if page.next:
        click.echo(f"More: --after {page.next}")


@caches.command("set")
@click.argument("endpoint", metavar="NAME|ID")
@click.option("--seconds", type=int, required=True, help="How long an answer is given again.")
@click.option("--max-temperature", type=float, default=0.3, show_default=True, help="Leave requests above it alone.")
@click.option("--tools", is_flag=True, help="Also requests with tools.")
@click.option("--semantic", nargs=2, metavar="ENGINE MODEL", help="Also what asks alike, by this embedding model.")
@click.option("--threshold", type=float, default=0.95, show_default=True, help="The cosine that counts as alike.")
@workspace_option
@json_option
def set_cache(
    endpoint: str,
    seconds: int,
    max_temperature: float,
    tools: bool,
    semantic: tuple[str, str] | None,
    threshold: float,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Give equal requests the same answer. What was kept so far is forgotten."""
    alike = {"engine": semantic[0], "model": semantic[1], "threshold": threshold} if semantic else None
    policy = {"seconds": seconds, "max_temperature": max_temperature, "tools": tools, "semantic": alike}
    with connect(workspace) as client:
        shown(client.endpoints.update(endpoint, cache=policy), as_json)


@caches.command("off")
@click.argument("endpoint", metavar="NAME|ID")
@workspace_option
@json_option
def cache_off(endpoint: str, workspace: str | None, as_json: bool) -> None:
    """Ask the engine each time again."""
    with connect(workspace) as client:
        shown(client.endpoints.update(endpoint, cache=None), as_json)


@caches.command("clear")
@click.argument("endpoint", metavar="[NAME|ID]", required=False)
@workspace_option
@json_option
def clear(endpoint: str | None, workspace: str | None, as_json: bool) -> None:
    """Forget the answers that an endpoint, or every endpoint, would give again."""
    with connect(workspace) as client:
        answer = client.caches.clear(endpoint)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Forgotten. {len(answer['gateways'])} gateway processes know it.")


def _row(use: Any) -> dict[str, Any]:
    saved = [f"{Decimal(micro) / _MICRO:f} {currency}" for currency, micro in use.saved.items()]
    semantic = use.cache.semantic if use.cache else None
    return {
        **msgspec.structs.asdict(use),
        "seconds": use.cache.seconds if use.cache else "off",
        "semantic": f"{semantic.threshold:g}" if semantic else None,
        "rate": None if use.hit_rate is None else f"{use.hit_rate:.1%}",
        "saved": " + ".join(saved) or None,
    }
