"""Commands on limits, prices and usage. People give and read money in its unit (12.50 EUR), the API in millionths of it."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import click
import msgspec

from charkha.app.cli.connection import connect
from charkha.app.cli.lists import workspace_option
from charkha.app.cli.output import json_option, page_options, print_json, table
from charkha.client import spending

_MICRO = 1_000_000
MEASURES = ("requests", "tokens", "money", "concurrency")


class Money(click.ParamType[int]):
    """An amount with a decimal point, as millionths."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """12.5 → 12500000."""
        try:
            millionths = Decimal(str(value)) * _MICRO
        except InvalidOperation:
            self.fail(f"{value} is no number.", param, ctx)
        if millionths != millionths.to_integral_value():
            self.fail(f"{value} has more than six decimals.", param, ctx)
        return int(millionths)


@click.group()
def limits() -> None:
    """Limits: how much a key, the workspace or the organisation may use."""


@limits.command("create")
@click.argument("measure", type=click.Choice(MEASURES))
@click.argument("amount")
@click.option("--key", "key_id", help="Limit this key (its id). Default: the whole workspace.")
@click.option("--organisation", is_flag=True, help="Limit the whole organisation.")
@click.option(
    "--window",
    type=click.Choice(["minute", "hour", "day", "month", "total"]),
    default="total",
    show_default=True,
    help="How often it begins anew (UTC).",
)
@click.option("--currency", help="For money, such as EUR.")
@workspace_option
@json_option
def create_limit(
    measure: str,
    amount: str,
    key_id: str | None,
    organisation: bool,
    window: str,
    currency: str | None,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Make a limit: AMOUNT requests, tokens, requests at once, or money (12.50)."""
    if key_id and organisation:
        raise click.UsageError("A limit is on a key or on the organisation.")
    subject = "key" if key_id else "organisation" if organisation else "workspace"
    with connect(workspace) as client:
        made = client.limits.create(
            subject, measure, _amount(amount, measure), window=window, key_id=key_id, currency=currency
        )
    _show([made], as_json=as_json, whole=made)


@limits.command("list")
@click.option("--subject-id", help="Only this key, workspace or organisation.")
@click.option("--subject", type=click.Choice(["key", "workspace", "organisation"]), help="Only of this kind.")
@click.option("--measure", type=click.Choice(MEASURES), help="Only of this measure.")
@workspace_option
@page_options
@json_option
def list_limits(workspace: str | None, as_json: bool, **wanted: Any) -> None:
    """Limits with what is spent, held by gateways and left of them, newest first."""
    with connect(workspace) as client:
        page = client.limits.list(**wanted)
    if not page.data and not as_json:
        click.echo("No limits. Make one: charkha limits create tokens 1000000 --window day")
        return
    _show(page.data, as_json=as_json, whole=page)
    if page.next and not as_json:
        click.echo(f"More: --after {page.next}")


@limits.command("set")
@click.argument("limit_id")
@click.argument("amount")
@workspace_option
@json_option
def set_limit(limit_id: str, amount: str, workspace: str | None, as_json: bool) -> None:
    """Give a limit another amount."""
    with connect(workspace) as client:
        measure = client.limits.get(limit_id).measure
        changed = client.limits.set(limit_id, _amount(amount, measure))
    _show([changed], as_json=as_json, whole=changed)


@limits.command("delete")
@click.argument("limit_id")
@workspace_option
@json_option
def delete_limit(limit_id: str, workspace: str | None, as_json: bool) -> None:
    """Remove a limit; returns when no gateway holds anybody to it."""
    with connect(workspace) as client:
        answer = client.limits.delete(limit_id)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Deleted. {len(answer['gateways'])} gateway processes know it.")


@click.group()
def prices() -> None:
    """Prices of models, with the time from which they hold."""


@prices.command("add")
@click.argument("engine")
@click.argument("model")
@click.option("--currency", required=True, help="Such as EUR.")
@click.option("--prompt", type=Money(), required=True, help="For a million tokens read, e.g. 2.50.")
@click.option("--completion", type=Money(), default=0, help="For a million tokens written.")
@click.option("--organisation", is_flag=True, help="For all workspaces that have no price of their own.")
@click.option("--from", "valid_from", type=click.DateTime(), help="When it begins (UTC); now, if absent.")
@click.option("--until", "valid_until", type=click.DateTime(), help="When it ends (UTC).")
@workspace_option
@json_option
def add_price(engine: str, model: str, organisation: bool, workspace: str | None, as_json: bool, **terms: Any) -> None:
    """Say what MODEL on ENGINE costs from now on."""
    for name in ("valid_from", "valid_until"):
        moment: datetime | None = terms[name]
        terms[name] = moment.replace(tzinfo=UTC) if moment else None
    subject = "organisation" if organisation else "workspace"
    with connect(workspace) as client:
        added = client.prices.add(engine, model, subject=subject, **terms)
    _show_prices([added], as_json=as_json, whole=added)


@prices.command("list")
@click.option("--engine", help="Only of this engine.")
@click.option("--model", help="Only of this model.")
@click.option("--state", type=click.Choice(["upcoming", "current", "replaced", "past"]), help="Only those.")
@workspace_option
@page_options
@json_option
def list_prices(workspace: str | None, as_json: bool, **wanted: Any) -> None:
    """Prices, newest first, those of the past too."""
    with connect(workspace) as client:
        page = client.prices.list(**wanted)
    if not page.data and not as_json:
        click.echo("No prices. Add one: charkha prices add ENGINE MODEL --currency EUR --prompt 2.50 --completion 10")
        return
    _show_prices(page.data, as_json=as_json, whole=page)
    if page.next and not as_json:
        click.echo(f"More: --after {page.next}")


@prices.command("models")
@workspace_option
@json_option
def list_priced_models(workspace: str | None, as_json: bool) -> None:
    """Models that requests can reach: what each costs now, and which limits of money wait for a price."""
    with connect(workspace) as client:
        found = client.prices.models()
    if as_json:
        print_json(found)
        return
    table([_model_row(each) for each in found], ["engine", "model", "called", "prompt", "completion", "missing"])


@click.command()
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(["day", "month", "key", "model", "engine", "workspace"]),
    default=["day"],
    help="What to tell apart; may be repeated. [default: day]",
)
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day (UTC).")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Last day.")
@click.option("--key", "key_id", help="Only of this key.")
@click.option("--model", help="Only of this model.")
@click.option("--engine", help="Only of this engine.")
@workspace_option
@json_option
def usage(
    by: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    workspace: str | None,
    as_json: bool,
    **only: Any,
) -> None:
    """Requests, tokens and money; of the last 30 days, if no others are named."""
    with connect(workspace) as client:
        days: dict[str, Any] = {"since": since.date() if since else None, "until": until.date() if until else None}
        rows = client.usage.list(by=by, **only, **days)
    if as_json:
        print_json(rows)
        return
    columns = [{"key": "actor"}.get(name, name) for name in by]
    shown = [
        {
            **msgspec.structs.asdict(row),
            "cost": _money(row.cost, row.currency),
            "saved": _money(row.saved, row.currency),
        }
        for row in rows
    ]
    table(shown, [*columns, "requests", "prompt_tokens", "completion_tokens", "cost", "cached", "saved"])


def _amount(text: str, measure: str) -> int:
    """What was typed as an amount, in the API's units."""
    if measure == "money":
        return Money().convert(text, None, None)
    try:
        return int(text.replace(",", "").replace("_", ""))
    except ValueError:
        raise click.BadParameter(f"{text} is no whole number.", param_hint="AMOUNT") from None


def _money(micro: int | None, currency: str | None) -> str | None:
    return None if micro is None else f"{Decimal(micro) / _MICRO:f} {currency or ''}".strip()


def _show(found: list[spending.Limit], *, as_json: bool, whole: Any) -> None:
    if as_json:
        print_json(whole)
        return
    rows = []
    for limit in found:
        row = msgspec.structs.asdict(limit)
        if limit.measure == "money":
            row |= {name: _money(row[name], limit.currency) for name in ("amount", "spent", "held", "remaining")}
        rows.append(row)
    table(
        rows, ["id", "subject", "subject_id", "measure", "window", "amount", "spent", "held", "remaining", "resets_at"]
    )


def _show_prices(found: list[spending.Price], *, as_json: bool, whole: Any) -> None:
    if as_json:
        print_json(whole)
        return
    rows = []
    for price in found:
        row = msgspec.structs.asdict(price)
        rows.append(row | {name: _money(row[name], price.currency) for name in ("prompt", "completion")})
    columns = ["id", "engine", "model", "prompt", "completion", "valid_from", "valid_until", "subject", "state"]
    table(rows, columns)


def _model_row(found: spending.ModelPrice) -> dict[str, Any]:
    price = found.price
    costs = {name: _money(getattr(price, name), price.currency) for name in ("prompt", "completion")} if price else {}
    row = {"engine": found.engine, "model": found.model, "called": ", ".join(found.names), **costs}
    return {**row, "missing": ", ".join(found.missing)}
