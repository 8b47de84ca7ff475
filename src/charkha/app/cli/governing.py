"""Commands on keys, workspaces and the audit trail."""

import click

from charkha.app.cli.connection import connect
from charkha.app.cli.output import json_option, page_options, print_json, show_page, table


@click.group()
def keys() -> None:
    """API keys: create, list, revoke."""


@keys.command("create")
@click.option("--workspace", help="The key's workspace; made if it is not there. Default: your own.")
@click.option("--name", default="key", show_default=True, help="What the key is for.")
@click.option("--role", default="admin", show_default=True, help="owner, admin, developer or viewer.")
@click.option("--scope", "scopes", multiple=True, help="Narrow the role, e.g. feedback.*; may be repeated.")
@click.option("--days", type=float, help="Days until it expires.")
@json_option
def create_key(
    workspace: str | None, name: str, role: str, scopes: tuple[str, ...], days: float | None, as_json: bool
) -> None:
    """Make a key and print it, this once."""
    if workspace:
        with connect() as client:
            client.workspaces.create(workspace)
    with connect(workspace) as client:
        key = client.keys.create(name, role=role, scopes=scopes or None, days=days)
    if as_json:
        print_json(key)
    else:
        click.echo(key.key)
        click.echo("Keep it: it is shown this once.", err=True)


@keys.command("list")
@click.option("--workspace", help="Another workspace of your organisation.")
@page_options
@json_option
def list_keys(workspace: str | None, after: str | None, limit: int, as_json: bool) -> None:
    """Keys of the workspace, newest first."""
    with connect(workspace) as client:
        page = client.keys.list(after=after, limit=limit)
    show_page(
        page,
        ["id", "name", "hint", "role", "expires_at", "revoked_at"],
        as_json=as_json,
        empty="No keys. Make one: charkha keys create",
    )


@keys.command("revoke")
@click.argument("key_id")
@click.option("--workspace", help="Another workspace of your organisation.")
@json_option
def revoke_key(key_id: str, workspace: str | None, as_json: bool) -> None:
    """Revoke a key; returns when every gateway refuses it."""
    with connect(workspace) as client:
        answer = client.keys.revoke(key_id)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Revoked. {len(answer['gateways'])} gateway processes refuse it now.")


@click.group()
def workspaces() -> None:
    """Workspaces of the organisation."""


@workspaces.command("list")
@json_option
def list_workspaces(as_json: bool) -> None:
    """All workspaces, by name."""
    with connect() as client:
        found = client.workspaces.list()
    if as_json:
        print_json(found)
    else:
        table([{"id": each.id, "name": each.name} for each in found], ["name", "id"])


@workspaces.command("create")
@click.argument("name")
@json_option
def create_workspace(name: str, as_json: bool) -> None:
    """Make a workspace, or find the one of that name."""
    with connect() as client:
        made = client.workspaces.create(name)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made.name}  {made.id}")


@click.command()
@click.option("--actor", help="Only what this one did, e.g. key:ID.")
@click.option("--action", help="Only this action, e.g. key.created.")
@click.option("--target-kind", help="Only what was done to this kind of thing, e.g. run.")
@click.option("--target-id", help="Only what was done to this thing.")
@click.option("--since", help="Not before this instant (ISO 8601 with its offset, or Z).")
@click.option("--until", help="Before this instant.")
@page_options
@json_option
def audit(after: str | None, limit: int, as_json: bool, **chosen: str | None) -> None:
    """Who did what, newest first."""
    with connect() as client:
        page = client.audit.list(after=after, limit=limit, **chosen)
    show_page(page, ["at", "actor", "action", "target_kind", "target_id"], as_json=as_json, empty="Nothing yet.")
